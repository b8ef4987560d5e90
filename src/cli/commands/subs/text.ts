import type { DurableSubscription } from '../../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { formatCount, plural } from '../../counts.js';
import { formatDuration } from '../../duration.js';
import { table } from '../../env.js';
import { ago, isoTime } from '../../times.js';

/** The gateway counts a backlog no further. */
const COUNTED_UP_TO = 1_000_000n;

/** A backlog for people: `12,345`, `1,000,000 or more`. */
export const backlog = ({ backlogRecords }: DurableSubscription): string =>
  `${formatCount(backlogRecords)}${backlogRecords >= COUNTED_UP_TO ? ' or more' : ''}`;

export const nameOf = ({ spec }: DurableSubscription): string => spec?.name ?? '?';

export function subscriptionsTable(subscriptions: readonly DurableSubscription[]): string {
  const rows = subscriptions.map(each => [
    nameOf(each),
    each.spec?.pattern ?? '?',
    each.spec?.group ? 'group' : 'one node',
    backlog(each),
    formatCount(each.pendingRecords),
    formatCount(each.deadLetters),
    formatCount(each.offset),
    each.consumers.join(', ') || 'nobody',
  ]);
  return table([['SUBSCRIPTION', 'PATTERN', 'FOR', 'BACKLOG', 'OUT', 'DEAD', 'OFFSET', 'CONSUMED BY'], ...rows]);
}

/** All that is known of one. */
export function describeSubscription(subscription: DurableSubscription, nowMs: number): string {
  const { spec, offset, endOffset, pendingRecords, acknowledgedRecords, redeliveredRecords } = subscription;
  return table([
    ['name', nameOf(subscription)],
    ['pattern', spec?.pattern ?? '?'],
    ['for', spec?.group ? 'a group: several nodes share it' : 'one node at a time'],
    ['consumed by', subscription.consumers.join(', ') || 'nobody at the moment'],
    ['offset', `${formatCount(offset)}, the log ends at ${formatCount(endOffset)}`],
    ['backlog', `${backlog(subscription)} not acknowledged, ${formatCount(pendingRecords)} of them are out`],
    ['acknowledged', plural(acknowledgedRecords, 'record')],
    ['redelivered', `${plural(redeliveredRecords, 'record')} since the gateway started`],
    ['dead letters', deadLetters(subscription)],
    ['ack wait', formatDuration(spec?.ackWaitMs ?? 0)],
    ['deliveries', `at most ${spec?.maxDeliveries ?? 0}, then a dead letter`],
    ['made', `${isoTime(subscription.createTimeMs)} (${ago(subscription.createTimeMs, nowMs)})`],
  ]);
}

const deadLetters = (subscription: DurableSubscription): string =>
  subscription.deadLetters === 0n
    ? 'none'
    : `${formatCount(subscription.deadLetters)}: fedgate dead list --subscription ${nameOf(subscription)}`;

export const subscriptionJson = (subscription: DurableSubscription): unknown => {
  const { spec, createTimeMs, ...counts } = subscription;
  const { name, pattern, group, ackWaitMs, maxDeliveries } = spec ?? {};
  return { name, pattern, group, ackWaitMs, maxDeliveries, ...counts, createTime: isoTime(createTimeMs) };
};
