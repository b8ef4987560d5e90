import type { Violation } from '../checker.js';
import type { DeliveredEvent, PublishEvent, RecordedEvent } from '../events.js';

/** I4. Whatever is delivered was published by whom it is said to come from, on that channel, and is what was published. */
export function findForeign(events: readonly RecordedEvent[]): Violation[] {
  const published = new Map<string, PublishEvent>();
  for (const event of events) if (event.kind === 'publish') published.set(event.id, event);
  return events.flatMap(event => {
    const wrong = event.kind === 'delivered' ? wrongness(event, published.get(event.id)) : undefined;
    return wrong === undefined ? [] : [{ invariant: 'I4' as const, what: wrong }];
  });
}

function wrongness(event: DeliveredEvent, publish: PublishEvent | undefined): string | undefined {
  const { id, offset, consumer } = event;
  if (!event.intact) return `offset ${offset} came to ${consumer} with a payload that is not what was sent`;
  if (!publish) return `${id} came to ${consumer} and nobody published it`;
  if (event.senderOrg !== publish.org || event.senderNode !== publish.publisher)
    return `${id} came to ${consumer} as sent by ${event.senderOrg}/${event.senderNode}`;
  if (event.channel !== publish.channel) return `${id} came to ${consumer} on ${event.channel}`;
  return undefined;
}
