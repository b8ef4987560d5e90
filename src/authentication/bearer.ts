import { FedgateError } from '../errors.js';

/** The longest token that is looked at, bytes. */
export const MAX_TOKEN_BYTES = 8 * 1024;

/** Why a token is not believed; `why` in the metadata of the error. */
export type WhyInvalid =
  | 'size'
  | 'malformed'
  | 'several'
  | 'issuer'
  | 'audience'
  | 'algorithm'
  | 'key'
  | 'signature'
  | 'claims'
  | 'not-yet-valid'
  | 'no-expiry'
  | 'lifetime'
  | 'node'
  | 'module';

/** TOKEN_INVALID. `message` never holds anything out of the token. */
export const invalidToken = (why: WhyInvalid, message: string): FedgateError =>
  new FedgateError('TOKEN_INVALID', `the token is not believed: ${message}`, { metadata: { why } });

// RFC 6750, section 2.1
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/**
 * The bearer token of a call; undefined: it shows none. `values` are those of its header `authorization`. Throws TOKEN_INVALID for what is none,
 * too long, or several.
 */
export function bearerToken(values: readonly string[]): string | undefined {
  if (values.length === 0) return undefined;
  const [value = ''] = values;
  // Several headers come joined by a comma, which no token has.
  if (values.length > 1 || value.includes(',')) {
    throw invalidToken('several', 'the call has several headers `authorization`');
  }
  if (value.length > MAX_TOKEN_BYTES + 'Bearer '.length)
    throw invalidToken('size', `it is longer than ${MAX_TOKEN_BYTES} bytes`);
  const token = BEARER.exec(value)?.[1];
  if (token === undefined) throw invalidToken('malformed', 'the header `authorization` is not `Bearer TOKEN`');
  return token;
}
