import type { InboxState, OrgReport, PublishOptions, PublishReport } from '../../../client/index.js';
import type { FedgateError } from '../../../errors.js';
import { formatCount } from '../../counts.js';
import { formatDuration } from '../../duration.js';
import { table } from '../../env.js';
import { EXIT, exitCodeOf, worstOf } from '../../exit-codes.js';
import type { DeliveryWish } from './delivery.js';

/** What became of a record: in one line, or in one for each of several organisations. */
export function describeReport(report: PublishReport, wish: DeliveryWish): string {
  if (report.orgs) return describeOrgs(report.orgs, wish);
  return report.level === undefined ? describeLive(report) : describeDurable(report, report.level);
}

function describeOrgs(orgs: readonly OrgReport[], wish: DeliveryWish): string {
  if (orgs.length === 0) return 'there is no other organisation: the record went nowhere';
  const rows = orgs.map(({ org, report, error }) => {
    if (report) return [org, describeReport(report, wish)];
    return [org, isLate(error, wish) ? describeLate(org, wish) : `${error.message} [${error.reason}]`];
  });
  return table([['ORGANISATION', 'OUTCOME'], ...rows]);
}

/** Nobody asked for a level, and the record is safe: no failure. */
export const isLate = (error: FedgateError, { ackIsDefault }: DeliveryWish): boolean =>
  error.reason === 'ACK_TIMEOUT' && ackIsDefault;

export const describeLate = (org: string, { ackTimeoutMs }: DeliveryWish): string =>
  `stored here; ${org} has not confirmed within ${formatDuration(ackTimeoutMs)}, it is sent when ${org} can be reached`;

/** Exit code for a report: only what went nowhere is not a success. Of several organisations the worst counts. */
export function exitCodeFor(report: PublishReport, wish: DeliveryWish): number {
  const { side, level, subscribers, dropped, inbox, orgs } = report;
  if (orgs) return orgs.length === 0 ? EXIT.nothingThere : worstOf(orgs.map(each => exitCodeOfOrg(each, wish)));
  if (level !== undefined || subscribers > 0 || (inbox === 'untold' && side === 'remote')) return EXIT.ok;
  return dropped > 0 ? EXIT.limit : EXIT.nothingThere;
}

function exitCodeOfOrg({ report, error }: OrgReport, wish: DeliveryWish): number {
  if (report) return exitCodeFor(report, wish);
  return isLate(error, wish) ? EXIT.ok : exitCodeOf(error);
}

function describeLive({ org, side, subscribers, dropped, inbox }: PublishReport): string {
  if (inbox === 'untold' && side === 'local') return 'no node of that name was ever connected: the record went nowhere';
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

/** The organisation in an address, or the words for those that it means. */
export function orgOf(address: string): string {
  const org = /^pubsub:\/\/([^/]+)/.exec(address)?.[1];
  if (org === undefined) return 'your own organisation';
  return org === '*' || org.startsWith('@') ? 'every organisation' : org;
}

export const publishOptions = (wish: DeliveryWish, patienceMs: number): PublishOptions => {
  const { delivery, ack, ackTimeoutMs, ttlMs, dedupe } = wish;
  return delivery === 'live' ? { delivery, patienceMs } : { delivery, ack, ackTimeoutMs, ttlMs, dedupe, patienceMs };
};

/** Epochs do not fit into a number of JSON. Counts of subscriptions say nothing of what is stored, and levels nothing of what is live. */
export function reportJson({ side, org, subscribers, dropped, ...rest }: PublishReport): object {
  if (rest.orgs) return { orgs: rest.orgs.map(orgJson) };
  const { level, duplicate, streamEpoch, sequence } = rest;
  const inbox = rest.inbox ? { inbox: rest.inbox } : {};
  if (level === undefined) return { side, org, subscribers, dropped, ...inbox };
  const stream = streamEpoch === undefined ? {} : { streamEpoch: String(streamEpoch) };
  return { side, org, level, duplicate, ...stream, sequence, ...inbox };
}

const orgJson = ({ org, report, error }: OrgReport): object =>
  report ? { ...reportJson(report), org } : { org, error: { reason: error.reason, message: error.message } };
