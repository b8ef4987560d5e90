import { FedgateError, fieldError, quoted } from '../errors.js';
import { isInbox, parseChannel } from '../messaging/address.js';

const SCHEME = 'topic://';

/** Whether a text is the address of a topic: `topic://name`. */
export const isTopicAddress = (text: string): boolean => text.startsWith(SCHEME);

export const formatTopic = (topic: string): string => `${SCHEME}${topic}`;

/** The name of a topic, from `topic://name` or the name itself: as a channel, but never an inbox. Throws FIELD_INVALID naming `field`, CHANNEL_RESERVED. */
export function parseTopic(text: string, field = 'topic'): string {
  const name = isTopicAddress(text) ? text.slice(SCHEME.length) : text;
  if (isInbox(name)) throw fieldError(field, `${quoted(text)} is an inbox, not a topic`);
  return parseChannel(name, field);
}

/** Whether a text is the name of a topic. */
export function isTopicName(text: string): boolean {
  try {
    return parseTopic(text) === text;
  } catch (error) {
    if (error instanceof FedgateError) return false;
    throw error;
  }
}
