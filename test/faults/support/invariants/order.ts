import type { Rules, Violation } from '../checker.js';
import type { PublishEvent, RecordedEvent } from '../events.js';

/**
 * I3. The first deliveries of what one publisher sent to one channel come in the order in which it published; in a group, of what it
 * sent there under one key, and what has no key in any order. Deliveries that are repeated may come later than what follows them.
 */
export function findDisorder(events: readonly RecordedEvent[], { subscriptions }: Rules): Violation[] {
  const groups = new Set(subscriptions.filter(({ group }) => group).map(({ name }) => name));
  const published = new Map<string, PublishEvent>();
  for (const event of events) if (event.kind === 'publish' && !published.has(event.id)) published.set(event.id, event);
  const seen = new Set<string>();
  const last = new Map<string, PublishEvent>();
  const violations: Violation[] = [];
  for (const event of events) {
    const publish = event.kind === 'delivered' ? published.get(event.id) : undefined;
    if (event.kind !== 'delivered' || !publish) continue;
    const { subscription, id, key } = event;
    const inGroup = groups.has(subscription);
    if ((inGroup && key === '') || seen.has(`${subscription} ${id}`)) continue;
    seen.add(`${subscription} ${id}`);
    const stream = [subscription, publish.org, publish.publisher, publish.channel, inGroup ? key : ''];
    const line = stream.join(' ');
    const before = last.get(line);
    if (!before || publish.n > before.n) last.set(line, publish);
    else violations.push({ invariant: 'I3', what: `${id} came to ${subscription} after ${before.id}` });
  }
  return violations;
}
