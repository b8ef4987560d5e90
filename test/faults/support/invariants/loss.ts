import type { CheckedSubscription, Rules, Violation } from '../checker.js';
import type { MissingEvent, PublishEvent, RecordedEvent } from '../events.js';

const violation = (what: string): Violation => ({ invariant: 'I1', what });

/** What of a message is known in the end. */
interface Fate {
  readonly publish: PublishEvent;
  acked: boolean;
}

/**
 * I1. A message that was acknowledged at any level must have been delivered to each subscription that covers it, and one that was
 * acknowledged as consumed must have been acknowledged by a consumer before. What was refused in every attempt must not turn up.
 */
export function findLosses(events: readonly RecordedEvent[], rules: Rules): Violation[] {
  const fates = collectFates(events);
  return [
    ...rules.subscriptions.flatMap(subscription => missingIn(subscription, events, fates, rules)),
    ...consumedByNobody(events),
    ...refusedAndDelivered(events),
  ];
}

function collectFates(events: readonly RecordedEvent[]): ReadonlyMap<string, Fate> {
  const fates = new Map<string, Fate>();
  for (const event of events) {
    if (event.kind === 'publish' && !fates.has(event.id)) fates.set(event.id, { publish: event, acked: false });
    const fate = event.kind === 'acked' ? fates.get(event.id) : undefined;
    if (fate) fate.acked = true;
  }
  return fates;
}

function missingIn(
  subscription: CheckedSubscription,
  events: readonly RecordedEvent[],
  fates: ReadonlyMap<string, Fate>,
  { reportedLoss = false }: Rules,
): Violation[] {
  const delivered = new Set<string>();
  const reports: MissingEvent[] = [];
  for (const event of events) {
    if (event.kind === 'delivered' && event.subscription === subscription.name) delivered.add(event.id);
    if (event.kind === 'missing' && event.subscription === subscription.name) reports.push(event);
  }
  const covered = [...fates.values()].filter(
    ({ publish, acked }) => acked && publish.to === subscription.org && subscription.channels.includes(publish.channel),
  );
  const lost = covered.filter(({ publish }) => !delivered.has(publish.id)).map(({ publish }) => publish);
  if (reportedLoss) return silentLosses(subscription, lost, reports);
  return lost.map(({ id }) => violation(`${id} was acknowledged and never delivered to ${subscription.name}`));
}

/** Per channel and sender: no more may be missing than consumers were told of. Nobody can tell which records a gap held. */
function silentLosses(
  { name }: CheckedSubscription,
  lost: readonly PublishEvent[],
  reports: readonly MissingEvent[],
): Violation[] {
  const groups = new Map<string, PublishEvent[]>();
  for (const publish of lost) {
    const group = `${publish.org} ${publish.channel}`;
    groups.set(group, [...(groups.get(group) ?? []), publish]);
  }
  return [...groups.values()].flatMap(group => {
    const [first] = group;
    if (!first) return [];
    const about = reports.filter(
      ({ channel, senderOrg }) =>
        (channel === '' || channel === first.channel) && (senderOrg === '' || senderOrg === first.org),
    );
    const told = about.some(({ records }) => records === 0)
      ? Number.POSITIVE_INFINITY
      : about.reduce((sum, { records }) => sum + records, 0);
    if (group.length <= told) return [];
    return [
      violation(
        `${group.length} acknowledged messages like ${first.id} never reached ${name}, which was told of ${told} missing`,
      ),
    ];
  });
}

function consumedByNobody(events: readonly RecordedEvent[]): Violation[] {
  const acknowledged = new Set<string>();
  const violations: Violation[] = [];
  for (const event of events) {
    if (event.kind === 'ackSent') acknowledged.add(event.id);
    if (event.kind === 'acked' && event.level === 'consumed' && !acknowledged.has(event.id))
      violations.push(violation(`${event.id} was acknowledged as consumed before any consumer acknowledged it`));
  }
  return violations;
}

function refusedAndDelivered(events: readonly RecordedEvent[]): Violation[] {
  const attempts = new Map<string, number>();
  for (const event of events) {
    if (event.kind === 'publish') attempts.set(event.id, (attempts.get(event.id) ?? 0) + 1);
    if (event.kind === 'refused') attempts.set(event.id, (attempts.get(event.id) ?? 0) - 1);
  }
  const seen = new Set<string>();
  return events.flatMap(event => {
    if (event.kind !== 'delivered' || attempts.get(event.id) !== 0 || seen.has(event.id)) return [];
    seen.add(event.id);
    return [violation(`${event.id} was refused in every attempt and delivered all the same`)];
  });
}
