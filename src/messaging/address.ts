import { FedgateError, fieldError, quoted } from '../errors.js';
import { isOrgName, type OrgName, parseNodeName, parseOrgName } from '../identity/names.js';

/** A place to publish to: one channel of one organisation. */
export interface Address {
  readonly org: OrgName;
  readonly channel: string;
}

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MAX_SEGMENTS = 16;
export const MAX_ADDRESS_BYTES = 512;
const SCHEME = 'pubsub://';
/** In patterns that may speak of inboxes: each of them. */
const EVERY_INBOX = '@*';

export const formatAddress = ({ org, channel }: Address): string => `${SCHEME}${org}/${channel}`;

/** Whether a channel, or a segment, is the inbox of one node: `@node`. */
export const isInbox = (channel: string): boolean => channel.startsWith('@');

/** The node whose inbox a channel is. Undefined: it is none. */
export const nodeOfInbox = (channel: string): string | undefined => (isInbox(channel) ? channel.slice(1) : undefined);

/**
 * Parses `channel`, `@node`, `pubsub://ORG/channel` or `pubsub://ORG/@node`.
 *
 * Throws FIELD_INVALID naming `field`, CHANNEL_RESERVED, or FEATURE_UNSUPPORTED for the kinds of address that are not served yet
 * (`pubsub://*\/channel`, `pubsub://@group/channel`).
 */
export function parseAddress(text: string, ownOrg: OrgName, field = 'address'): Address {
  if (!text.startsWith(SCHEME)) return { org: ownOrg, channel: parseChannel(text, field) };
  checkLength(text, field);
  const slash = text.indexOf('/', SCHEME.length);
  const org = text.slice(SCHEME.length, slash < 0 ? text.length : slash);
  const channel = slash < 0 ? '' : text.slice(slash + 1);
  if (org === '*' || org.startsWith('@')) throw unsupported(text, 'several organisations');
  if (!isOrgName(org)) parseOrgName(org, field);
  return { org: org as OrgName, channel: parseChannel(channel, field) };
}

/** Throws FIELD_INVALID naming `field`, or CHANNEL_RESERVED. */
export function parseChannel(text: string, field = 'channel'): string {
  checkLength(text, field);
  if (isInbox(text)) parseNodeName(text.slice(1), field);
  else checkSegments(text, text.split('/'), field);
  return text;
}

/**
 * A parsed subscription pattern: its segments, where `*` is any one segment and a last `**` any number of them. Neither speaks of an
 * inbox, so that no pattern for channels opens one: an inbox is named, `@node`, or meant by `@*`.
 */
export interface Pattern {
  readonly text: string;
  readonly segments: readonly string[];
}

/** Throws FIELD_INVALID naming `field`, or CHANNEL_RESERVED. `inboxes`: whether `@*`, every inbox, may be meant. */
export function parsePattern(text: string, field = 'pattern', { inboxes = false } = {}): Pattern {
  checkLength(text, field);
  if (isInbox(text)) return inboxPattern(text, field, inboxes);
  const segments = text.split('/');
  const fixed = segments.filter(segment => segment !== '*');
  if (fixed.at(-1) === '**' && segments.at(-1) === '**') fixed.pop();
  if (fixed.includes('**')) throw fieldError(field, '`**` may only be the last segment');
  checkSegments(text, fixed, field, segments.length);
  return { text, segments };
}

function inboxPattern(text: string, field: string, inboxes: boolean): Pattern {
  if (text !== EVERY_INBOX) parseNodeName(text.slice(1), field);
  else if (!inboxes) throw fieldError(field, '`@*` is every inbox, and nobody reads more than their own');
  return { text, segments: [text] };
}

function checkLength(text: string, field: string): void {
  if (text.length === 0) throw fieldError(field, 'is empty');
  if (text.length > MAX_ADDRESS_BYTES) throw fieldError(field, `is longer than ${MAX_ADDRESS_BYTES} bytes`);
}

function checkSegments(text: string, segments: readonly string[], field: string, count = segments.length): void {
  if (count > MAX_SEGMENTS) throw fieldError(field, `has more than ${MAX_SEGMENTS} segments`);
  if (text.startsWith('$')) {
    throw new FedgateError('CHANNEL_RESERVED', `${field}: channels that begin with $ belong to fedgate itself`, {
      fields: [{ field, description: 'is reserved' }],
    });
  }
  const bad = segments.find(segment => !SEGMENT.test(segment));
  if (bad === undefined) return;
  const what =
    bad === ''
      ? 'has an empty segment'
      : `has a segment ${quoted(bad)} (1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit)`;
  throw fieldError(field, `${quoted(text)} ${what}`);
}

const unsupported = (text: string, what: string): FedgateError =>
  new FedgateError('FEATURE_UNSUPPORTED', `address: ${quoted(text)} is for ${what}, which this version does not serve`);
