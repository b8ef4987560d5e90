import type { Rules, Violation } from '../checker.js';
import type { DeliveredEvent, RecordedEvent } from '../events.js';

const violation = (what: string): Violation => ({ invariant: 'I2', what });

/**
 * I2. Once a consumer was told that its acknowledgement counts, its subscription gets that message never again. Before that it may come
 * again, marked by its delivery count. And a message has one place in the log: at two places it is two messages, which only a publisher
 * may cause who repeated a call that was not idempotent.
 */
export function findDuplicates(events: readonly RecordedEvent[], { unmarkedMs = 0 }: Rules): Violation[] {
  return [...deliveredAfterSettling(events), ...unmarked(events, unmarkedMs), ...storedTwice(events)];
}

/** With the message: a store that was restored gives offsets again. */
const placeOf = ({ subscription, offset, id }: { subscription: string; offset: number; id: string }): string =>
  `${subscription} ${offset} ${id}`;

function deliveredAfterSettling(events: readonly RecordedEvent[]): Violation[] {
  const settled = new Map<string, string>();
  const violations: Violation[] = [];
  for (const event of events) {
    if (event.kind === 'ackSettled') settled.set(placeOf(event), event.consumer);
    const by = event.kind === 'delivered' ? settled.get(placeOf(event)) : undefined;
    if (event.kind === 'delivered' && by !== undefined)
      violations.push(
        violation(
          `${event.id} (offset ${event.offset}, count ${event.deliveryCount}) came to ${event.consumer} after the acknowledgement of ${by} was settled`,
        ),
      );
  }
  return violations;
}

function unmarked(events: readonly RecordedEvent[], toleratedMs: number): Violation[] {
  const before = new Map<string, DeliveredEvent>();
  const deathsMs = events.flatMap(event => (event.kind === 'fault' && event.died !== undefined ? [event.atMs] : []));
  // Programs go on with what a gateway sent them before it died: that may be handed to them a little after its death too.
  const diedAbout = ({ atMs }: DeliveredEvent): boolean =>
    deathsMs.some(deathMs => Math.abs(deathMs - atMs) <= toleratedMs);
  const violations: Violation[] = [];
  for (const event of events) {
    if (event.kind !== 'delivered') continue;
    const place = placeOf(event);
    const earlier = before.get(place);
    before.set(place, event);
    if (earlier && event.deliveryCount < 2 && !diedAbout(earlier))
      violations.push(
        violation(
          `${event.id} (offset ${event.offset}) came to ${event.consumer} again, after ${earlier.consumer}, without being marked`,
        ),
      );
  }
  return violations;
}

function storedTwice(events: readonly RecordedEvent[]): Violation[] {
  const offsets = new Map<string, Set<number>>();
  const allowed = copiesAllowed(events);
  for (const event of events) {
    if (event.kind !== 'delivered' || !event.intact) continue;
    const key = `${event.subscription} ${event.id}`;
    offsets.set(key, (offsets.get(key) ?? new Set()).add(event.offset));
  }
  return [...offsets].flatMap(([key, places]) => {
    const id = key.slice(key.indexOf(' ') + 1);
    if (places.size <= (allowed.get(id) ?? 1)) return [];
    return [violation(`${id} stands in the log ${places.size} times, at ${[...places].join(', ')}`)];
  });
}

/** One for the first attempt and one for each later one that was not idempotent; none for an attempt that was refused. */
function copiesAllowed(events: readonly RecordedEvent[]): ReadonlyMap<string, number> {
  const attempts = new Map<string, number>();
  const careless = new Set<string>();
  for (const event of events) {
    if (event.kind === 'publish') {
      attempts.set(event.id, (attempts.get(event.id) ?? 0) + 1);
      if (!event.idempotent) careless.add(event.id);
    }
    if (event.kind === 'refused') attempts.set(event.id, (attempts.get(event.id) ?? 0) - 1);
  }
  return new Map([...attempts].map(([id, count]) => [id, careless.has(id) ? Math.max(1, count) : 1]));
}
