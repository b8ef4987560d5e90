import type { PausedPeer, TopicInfo } from '../../../client/index.js';
import { escapeControls } from '../../../text.js';
import { formatCount } from '../../counts.js';
import { table } from '../../env.js';
import { ago, isoTime } from '../../times.js';

export function topicsTable(topics: readonly TopicInfo[]): string {
  const rows = topics.map(({ topic, streams, records, bytes, readers, linkedOrgs }) => [
    topic,
    String(new Set(streams.map(({ org, gateway }) => `${org}/${gateway}`)).size),
    formatCount(records),
    formatCount(bytes),
    formatCount(readers),
    linkedOrgs.join(', ') || 'nobody',
  ]);
  return table([['TOPIC', 'AUTHORS', 'RECORDS', 'BYTES', 'READERS', 'SHARED WITH, LINKED'], ...rows]);
}

/** All that is known of one. */
export function describeTopic(
  { topic, streams, muted, records, bytes, readers, linkedOrgs }: TopicInfo,
  now: number,
): string {
  const facts = table([
    ['topic', topic],
    ['held', `${formatCount(records)} records, ${formatCount(bytes)} bytes`],
    ['readers', formatCount(readers)],
    ['shared with', linkedOrgs.length > 0 ? `${linkedOrgs.join(', ')} (linked)` : 'nobody who is linked'],
  ]);
  const rows = streams.map(({ org, gateway, epoch, first, sequence, source, time }) => [
    `${org}/${gateway}`,
    epoch,
    first > sequence ? '-' : `${formatCount(first)} to ${formatCount(sequence)}`,
    formatCount(sequence),
    source ?? '-',
    ago(BigInt(time.getTime()), now),
  ]);
  const authors = table([['AUTHOR', 'EPOCH', 'HELD', 'LAST', 'COMES FROM', 'SIGNED'], ...rows]);
  const silenced = muted.map(
    ({ org, gateway, error, until }) =>
      `nothing is taken of ${org}/${gateway}${until ? ` until ${isoTime(until.getTime())}` : ''}: ${escapeControls(error.message)} [${error.reason}]`,
  );
  return [facts, '', authors, ...silenced].join('\n');
}

export const describePaused = ({ org, error, until }: PausedPeer): string =>
  `${org} is not heard about topics until ${isoTime(until.getTime())}: ${escapeControls(error.message)} [${error.reason}]`;

export const topicJson = ({ streams, muted, ...rest }: TopicInfo): object => ({
  ...rest,
  streams: streams.map(({ time, ...stream }) => ({ ...stream, time: isoTime(time.getTime()) })),
  muted: muted.map(({ error, until, evidence, ...author }) => ({
    ...author,
    reason: error.reason,
    message: error.message,
    ...(until ? { until: isoTime(until.getTime()) } : {}),
    ...(evidence ? { evidenceBase64: Buffer.from(evidence).toString('base64') } : {}),
  })),
});
