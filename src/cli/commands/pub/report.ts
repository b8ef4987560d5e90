import type { InboxState, PublishOptions, PublishReport } from '../../../client/index.js';
import { formatCount } from '../../counts.js';
import { EXIT } from '../../exit-codes.js';
import type { DeliveryWish } from './delivery.js';

/** What became of a record, in one line. */
export const describeReport = (report: PublishReport): string =>
  report.level === undefined ? describeLive(report) : describeDurable(report, report.level);

/** Exit code for a report: only what went nowhere is not a success. */
export function exitCodeFor({ level, subscribers, dropped, inbox }: PublishReport): number {
  if (level !== undefined || subscribers > 0 || inbox === 'untold') return EXIT.ok;
  return dropped > 0 ? EXIT.limit : EXIT.nothingThere;
}

function describeLive({ org, side, subscribers, dropped, inbox }: PublishReport): string {
  if (inbox) return describeDirect(org, subscribers, dropped, inbox);
  const where = side === 'local' ? `in ${org}, your own organisation` : `in ${org}`;
  const lost = dropped > 0 ? `; dropped for ${dropped} whose queue is full` : '';
  if (subscribers === 0 && dropped === 0) return `nobody is subscribed ${where}: the record went nowhere`;
  return `delivered to ${subscribers} ${subscribers === 1 ? 'subscription' : 'subscriptions'} ${where}${lost}`;
}

function describeDirect(org: string, subscribers: number, dropped: number, inbox: InboxState): string {
  if (inbox === 'untold') return `handed to ${org}, which does not tell whether the node is there`;
  if (subscribers > 0)
    return `delivered to the node in ${org}${dropped > 0 ? '; dropped where its queue is full' : ''}`;
  if (dropped > 0) return `dropped: the queue of the node in ${org} is full`;
  return inbox === 'away'
    ? `the node is not connected in ${org}: the record went nowhere`
    : `the node is connected in ${org} and does not read its inbox: the record went nowhere`;
}

function describeDurable({ org, side, duplicate, sequence }: PublishReport, level: string): string {
  const again = duplicate ? '; it was published before, and is not stored again' : '';
  if (level === 'consumed') return `a durable subscription in ${org} has acknowledged it${again}`;
  if (side === 'local')
    return `stored in ${org}, your own organisation, at offset ${formatCount(sequence ?? 0)}${again}`;
  if (level === 'received') return `${org} has it on stable storage${again}`;
  return `stored here; it is sent when ${org} can be reached${again}`;
}

/** The organisation in an address that names one. */
export const orgOf = (address: string): string => /^pubsub:\/\/([^/]+)/.exec(address)?.[1] ?? 'your own organisation';

export const publishOptions = (wish: DeliveryWish, patienceMs: number): PublishOptions => {
  const { delivery, ack, ackTimeoutMs, ttlMs, dedupe } = wish;
  return delivery === 'live' ? { delivery, patienceMs } : { delivery, ack, ackTimeoutMs, ttlMs, dedupe, patienceMs };
};

/** Epochs do not fit into a number of JSON. Counts of subscriptions say nothing of what is stored, and levels nothing of what is live. */
export function reportJson({ side, org, subscribers, dropped, ...rest }: PublishReport): object {
  const { level, duplicate, streamEpoch, sequence } = rest;
  const inbox = rest.inbox ? { inbox: rest.inbox } : {};
  if (level === undefined) return { side, org, subscribers, dropped, ...inbox };
  const stream = streamEpoch === undefined ? {} : { streamEpoch: String(streamEpoch) };
  return { side, org, level, duplicate, ...stream, sequence, ...inbox };
}
