import { FedgateError, fieldError, quoted } from '../errors.js';
import { isOrgName, type OrgName, parseGroupRef, parseNodeName, parseOrgName } from '../identity/names.js';

/** A place to publish to: one channel of one organisation. */
export interface Address {
  readonly org: OrgName;
  readonly channel: string;
}

/** Places to publish to at once: the same channel of every other active member, or of each organisation in a group. */
export interface Several {
  /** `*`, or the name of a group: `suppliers`, or one of a member's record, `acme.suppliers`. */
  readonly group: string;
  readonly channel: string;
}

export type Destination = Address | Several;

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MAX_SEGMENTS = 16;
export const MAX_ADDRESS_BYTES = 512;
const SCHEME = 'pubsub://';
/** In patterns that may speak of inboxes: each of them. */
const EVERY_INBOX = '@*';
/** In the place of an organisation: every other active member. */
const EVERYBODY = '*';

export const formatAddress = ({ org, channel }: Address): string => `${SCHEME}${org}/${channel}`;

/** Whether a channel, or a segment, is the inbox of one node: `@node`. */
export const isInbox = (channel: string): boolean => channel.startsWith('@');

/** The node whose inbox a channel is. Undefined: it is none. */
export const nodeOfInbox = (channel: string): string | undefined => (isInbox(channel) ? channel.slice(1) : undefined);

/** How a destination of several organisations is named: `*`, `@suppliers`. */
export const formatAudience = ({ group }: Several): string => (group === EVERYBODY ? group : `@${group}`);

export const formatDestination = (destination: Destination): string =>
  'org' in destination ? formatAddress(destination) : `${SCHEME}${formatAudience(destination)}/${destination.channel}`;

/**
 * Parses an address of one organisation: `channel`, `@node`, `pubsub://ORG/channel` or `pubsub://ORG/@node`.
 *
 * Throws FIELD_INVALID naming `field`, CHANNEL_RESERVED, or FEATURE_UNSUPPORTED for one of several organisations.
 */
export function parseAddress(text: string, ownOrg: OrgName, field = 'address'): Address {
  const destination = parseDestination(text, ownOrg, field);
  if ('org' in destination) return destination;
  throw new FedgateError(
    'FEATURE_UNSUPPORTED',
    `${field}: ${quoted(text)} is for several organisations, and this is for one`,
  );
}

/** Parses also `pubsub://*\/channel` and `pubsub://@group/channel`. Throws FIELD_INVALID naming `field`, CHANNEL_RESERVED. */
export function parseDestination(text: string, ownOrg: OrgName, field = 'address'): Destination {
  if (!text.startsWith(SCHEME)) return { org: ownOrg, channel: parseChannel(text, field) };
  checkLength(text, field);
  const slash = text.indexOf('/', SCHEME.length);
  const org = text.slice(SCHEME.length, slash < 0 ? text.length : slash);
  const channel = slash < 0 ? '' : text.slice(slash + 1);
  if (channel === '') throw fieldError(field, `${quoted(text)} names no channel: \`${SCHEME}ORG/channel\``);
  if (org === EVERYBODY) return { group: EVERYBODY, channel: parseChannel(channel, field) };
  if (org.startsWith('@')) return { group: groupOf(org.slice(1), field), channel: parseChannel(channel, field) };
  if (!isOrgName(org)) parseOrgName(org, field);
  return { org: org as OrgName, channel: parseChannel(channel, field) };
}

function groupOf(text: string, field: string): string {
  parseGroupRef(text, field);
  return text;
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
  if (text.startsWith(SCHEME))
    throw fieldError(field, `${quoted(text)} names an organisation; here a channel of the own one stands, by itself`);
  if (text.includes('://'))
    throw fieldError(field, `${quoted(text)} is neither \`channel\` nor \`${SCHEME}ORG/channel\``);
  if (bad === '*' || bad === '**') throw fieldError(field, `${quoted(text)} is a pattern, and none may stand here`);
  const what =
    bad === ''
      ? 'has an empty segment'
      : `has a segment ${quoted(bad)} (1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit)`;
  throw fieldError(field, `${quoted(text)} ${what}`);
}
