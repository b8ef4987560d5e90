import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { FedgateError } from '../errors.js';
import { type OrgName, parseFederationDomain, parseHostPort, parseOrgName } from '../identity/names.js';

/**
 * The one text that is handed over to join: `fedgate1-` and base64url of a JSON object followed by a checksum.
 *
 * The checksum is no protection, only a kindness: a code that was cut off by a chat program is told apart from one that the registry
 * does not know.
 */

/** What an invitation says. */
export interface Invitation {
  readonly federation: string;
  readonly org: OrgName;
  /** `host:port` of the registry, tried in order. */
  readonly addresses: readonly string[];
  /** SHA-256 of the registry's certificate, DER: 32 bytes. */
  readonly fingerprint: Uint8Array;
  /** Whoever has it may join: 16 bytes. */
  readonly secret: Uint8Array;
  readonly expireTimeMs: number;
}

const PREFIX = 'fedgate1-';
const CHECKSUM_BYTES = 4;
export const SECRET_BYTES = 16;
const FINGERPRINT_BYTES = 32;
/** Eight long addresses fit twice. */
const MAX_CODE_LENGTH = 8192;

const bytes = (length: number) =>
  z
    .base64url()
    .transform(text => Buffer.from(text, 'base64url'))
    .refine(value => value.length === length);

const schema = z.strictObject({
  f: z.string(),
  o: z.string(),
  a: z.array(z.string()).min(1).max(8),
  p: bytes(FINGERPRINT_BYTES),
  s: bytes(SECRET_BYTES),
  e: z.int().positive(),
});

export function encodeInvitation({
  federation,
  org,
  addresses,
  fingerprint,
  secret,
  expireTimeMs,
}: Invitation): string {
  const base64url = (value: Uint8Array): string => Buffer.from(value).toString('base64url');
  const content = {
    f: federation,
    o: org,
    a: addresses,
    p: base64url(fingerprint),
    s: base64url(secret),
    e: expireTimeMs,
  };
  const payload = Buffer.from(JSON.stringify(content));
  return PREFIX + Buffer.concat([payload, checksum(payload)]).toString('base64url');
}

/** Reads a code as it was pasted: white space, also within, does not count. Throws INVITATION_MALFORMED. Does not judge the expiry. */
export function decodeInvitation(text: string): Invitation {
  const payload = payloadOf(text);
  try {
    const content = schema.parse(JSON.parse(payload.toString('utf8')));
    for (const address of content.a) parseHostPort(address, 'address');
    return {
      federation: parseFederationDomain(content.f, 'federation'),
      org: parseOrgName(content.o, 'organisation'),
      addresses: content.a,
      fingerprint: content.p,
      secret: content.s,
      expireTimeMs: content.e,
    };
  } catch (cause) {
    throw malformed('it is whole, but not of a form this version knows', cause);
  }
}

/** The bytes between prefix and checksum, if the checksum is right. */
function payloadOf(text: string): Buffer {
  // Checked before anything is done with it: a whole file may have been pasted.
  if (text.length > 2 * MAX_CODE_LENGTH) throw malformed('it is far too long');
  const code = text.replace(/\s+/g, '');
  if (!code.startsWith(PREFIX)) throw malformed(`it does not begin with ${PREFIX}`);
  const encoded = code.slice(PREFIX.length);
  if (!/^[A-Za-z0-9_-]*$/.test(encoded)) throw malformed('it has characters that no code has');
  const all = Buffer.from(encoded, 'base64url');
  const payload = all.subarray(0, Math.max(0, all.length - CHECKSUM_BYTES));
  const found = all.subarray(payload.length);
  if (found.length !== CHECKSUM_BYTES || !timingSafeEqual(found, checksum(payload))) {
    throw malformed('the code is cut off or mistyped');
  }
  return payload;
}

const checksum = (payload: Uint8Array): Buffer =>
  createHash('sha256').update('fedgate invitation\n').update(payload).digest().subarray(0, CHECKSUM_BYTES);

// The code is a secret, so it is never quoted.
const malformed = (why: string, cause?: unknown): FedgateError =>
  new FedgateError('INVITATION_MALFORMED', `not an invitation code: ${why}`, cause === undefined ? {} : { cause });
