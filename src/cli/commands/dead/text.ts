import type { DeadLetter } from '../../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import type { Record } from '../../../../gen/ts/fedgate/messaging/v1/record.js';
import { escapeControls } from '../../../text.js';
import { formatCount, plural } from '../../counts.js';
import { table } from '../../env.js';
import { formatBytes } from '../../progress.js';
import { payloadJson, shownPayload } from '../../shown.js';
import { ago, isoTime } from '../../times.js';

const DIRECTIONS = ['unknown', 'incoming', 'outgoing'] as const;
const directionOf = ({ direction }: DeadLetter): (typeof DIRECTIONS)[number] => DIRECTIONS[direction] ?? 'unknown';

/** Reasons and names come from other organisations as well: what would draw on the terminal is escaped. */
export function deadLettersTable(letters: readonly DeadLetter[], nowMs: number): string {
  const rows = letters.map(each => [
    String(each.id),
    directionOf(each),
    each.org,
    each.channel,
    escapeControls(each.subscription) || '-',
    each.deliveries > 0 ? String(each.deliveries) : '-',
    formatCount(each.records),
    ago(each.timeMs, nowMs),
    `${escapeControls(each.reason)}${each.held ? '' : ' (records no longer held)'}`,
  ]);
  const heading = ['ID', 'DIRECTION', 'ORG', 'CHANNEL', 'SUBSCRIPTION', 'DELIVERIES', 'RECORDS', 'GIVEN UP', 'WHY'];
  return table([heading, ...rows]);
}

/** All that is known of one. */
export function describeDeadLetter(letter: DeadLetter, nowMs: number): string {
  const incoming = directionOf(letter) === 'incoming';
  const { id, org, channel, senderNode, subscription, deliveries, records, bytes, held } = letter;
  return table([
    ['id', String(id)],
    ['direction', incoming ? `incoming: from ${org}` : `outgoing: for ${org}`],
    ['channel', channel],
    ['published by', senderNode ? `node ${senderNode}` : '-'],
    ['given up by', givenUpBy(escapeControls(subscription), incoming, org)],
    ['why', escapeControls(letter.reason)],
    ['deliveries', deliveries > 0 ? String(deliveries) : '-'],
    ['given up', `${isoTime(letter.timeMs)} (${ago(letter.timeMs, nowMs)})`],
    ['records', `${plural(records, 'record')}, ${formatBytes(Number(bytes))}`],
    [
      'still held',
      held ? `yes: fedgate dead redrive ${id} tries again` : 'no: it can neither be shown nor tried again',
    ],
  ]);
}

const givenUpBy = (subscription: string, incoming: boolean, org: string): string =>
  subscription === ''
    ? `${incoming ? 'this gateway' : `${org}'s gateway`}, which refused it`
    : `subscription ${subscription}`;

/** One line of a record. */
export function describeRecord(record: Record): string {
  const time = record.timeMs > 0n ? isoTime(record.timeMs) : '-';
  const id = record.id === '' ? '' : `  id ${escapeControls(record.id)}`;
  return `${time}${id}  ${shownPayload(record.payload)}`;
}

export const deadLetterJson = (letter: DeadLetter) => {
  const { timeMs, ...rest } = letter;
  return { ...rest, direction: directionOf(letter), time: isoTime(timeMs) };
};

export const recordJson = ({ id, key, timeMs, contentType, headers, payload }: Record): unknown => ({
  ...(id ? { id } : {}),
  ...(key.length > 0 ? { key: Buffer.from(key).toString('utf8') } : {}),
  ...(timeMs > 0n ? { time: isoTime(timeMs) } : {}),
  ...(contentType ? { contentType } : {}),
  ...(headers.size > 0 ? { headers: Object.fromEntries(headers) } : {}),
  ...payloadJson(payload),
});
