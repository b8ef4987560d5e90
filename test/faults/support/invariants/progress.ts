import type { Rules, Violation } from '../checker.js';
import type { RecordedEvent } from '../events.js';

/**
 * I6. After a healing something new is delivered within the bound, if there is anything to deliver: a message whose publish began in the
 * first half of the bound, or before, and that no consumer had yet. A further fault within the bound voids the promise; the healing
 * after that one is judged in its place.
 */
export function findStandstill(events: readonly RecordedEvent[], { progressMs, subscriptions }: Rules): Violation[] {
  if (progressMs === undefined) return [];
  const firsts = firstDeliveries(events);
  const begun = begunPublishes(
    events,
    new Set(subscriptions.flatMap(({ org, channels }) => channels.map(c => `${org} ${c}`))),
  );
  const lastMs = events.at(-1)?.atMs ?? 0;
  return events.flatMap(event => {
    if (event.kind !== 'healed') return [];
    const byMs = event.atMs + progressMs;
    const within = (atMs: number): boolean => atMs > event.atMs && atMs <= byMs;
    if (byMs > lastMs || events.some(({ kind, atMs }) => kind === 'fault' && within(atMs))) return [];
    if ([...firsts.values()].some(within)) return [];
    const waiting = [...begun].find(
      ([id, atMs]) => atMs < event.atMs + progressMs / 2 && (firsts.get(id) ?? byMs) >= byMs,
    );
    if (!waiting) return [];
    const what = `nothing was delivered within ${progressMs} ms of: ${event.what}; ${waiting[0]} waited`;
    return [{ invariant: 'I6' as const, what }];
  });
}

/** When each message reached the first consumer. */
function firstDeliveries(events: readonly RecordedEvent[]): ReadonlyMap<string, number> {
  const firsts = new Map<string, number>();
  for (const event of events) if (event.kind === 'delivered' && !firsts.has(event.id)) firsts.set(event.id, event.atMs);
  return firsts;
}

/** When each message that somebody subscribes to was first published; without those that were refused. */
function begunPublishes(events: readonly RecordedEvent[], covered: ReadonlySet<string>): ReadonlyMap<string, number> {
  const begun = new Map<string, number>();
  for (const event of events) {
    if (event.kind === 'publish' && covered.has(`${event.to} ${event.channel}`) && !begun.has(event.id))
      begun.set(event.id, event.atMs);
    if (event.kind === 'refused') begun.delete(event.id);
  }
  return begun;
}
