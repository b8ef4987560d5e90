import { TopicEvidence } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { TopicState, TopicsPausedPeer } from '../../gen/ts/fedgate/messaging/v1/topic_service.js';
import type { Mute } from '../topics/muted.js';
import type { Topic } from '../topics/topic.js';
import type { Topics } from '../topics/topics.js';

/** A topic as its gateway's nodes see it. */
export function toTopic(topics: Topics, topic: Topic): TopicState {
  const { name, records, bytes, listeners } = topic;
  const streams = [...topic.streams]
    .filter(({ last }) => last > 0)
    .map(stream => {
      const { org, gateway, epoch } = stream.id;
      return {
        last: { org, gateway, epoch, sequence: BigInt(stream.last) },
        first: BigInt(stream.first),
        sourceOrg: topics.sourceOf(stream) ?? '',
        timeMs: BigInt(stream.timeMs),
      };
    });
  return {
    topic: name,
    records: BigInt(records),
    bytes: BigInt(bytes),
    readers: listeners.size,
    linkedOrgs: topics.sharers(name).sort(),
    streams: streams.sort((a, b) => (order(a.last) < order(b.last) ? -1 : 1)),
    muted: topics.muted.of(name, Date.now()).map(toMuted),
  };
}

const order = ({ org, gateway, epoch }: { org: string; gateway: string; epoch: bigint }): string =>
  `${org}/${gateway} ${epoch.toString(16).padStart(16, '0')}`;

const toMuted = ({ author: { org, gateway }, error, untilMs, evidence }: Mute): TopicState['muted'][number] => ({
  org,
  gateway,
  reason: error.reason,
  message: error.message,
  untilMs: BigInt(untilMs),
  evidence: evidence ? TopicEvidence.encode(evidence).finish() : new Uint8Array(),
});

/** Neighbours that are not heard at this moment. */
export const toPaused = ({ neighbours }: Topics): TopicsPausedPeer[] =>
  [...neighbours].flatMap(({ org, cut }) =>
    cut
      ? [{ org, reason: cut.error.reason, message: cut.error.message, untilMs: BigInt(Math.round(cut.untilMs)) }]
      : [],
  );
