import { errors, jwtVerify } from 'jose';
import { FedgateError } from '../errors.js';
import { invalidToken } from './bearer.js';
import type { IssuerKeys } from './issuer-keys.js';
import { type NodeNaming, nodeOfClaim } from './node-names.js';
import type { TokenNode } from './types.js';

/** Asymmetric signatures only: with HS* everybody who can verify could sign, and `none` is no signature. */
export const TOKEN_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number];

export interface TokenVerifierOptions extends NodeNaming {
  readonly issuer: string;
  /** One of these must be among the audiences of the token. */
  readonly audience: readonly string[];
  readonly algorithms: readonly TokenAlgorithm[];
  /** How far the clocks of issuer and gateway may differ, milliseconds. */
  readonly clockToleranceMs: number;
  /** The longest time that a token may still be good for, milliseconds. */
  readonly maxLifetimeMs: number;
  readonly keys: IssuerKeys;
  readonly now: () => number;
}

/** Verifies the tokens of one issuer. */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
  }

  get issuer(): string {
    return this.#options.issuer;
  }

  get keys(): IssuerKeys {
    return this.#options.keys;
  }

  /** Throws TOKEN_INVALID, TOKEN_EXPIRED, AUTHENTICATOR_UNAVAILABLE. */
  async verify(token: string): Promise<TokenNode> {
    const { keys } = this.#options;
    await keys.ready();
    try {
      return await this.#verify(token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw explain(error);
    }
    await keys.lookAgain();
    try {
      return await this.#verify(token);
    } catch (error) {
      throw explain(error);
    }
  }

  async #verify(token: string): Promise<TokenNode> {
    const { issuer, audience, algorithms, clockToleranceMs, maxLifetimeMs, keys, now, nodeClaim } = this.#options;
    let thumbprint = '';
    const { payload } = await jwtVerify(
      token,
      async header => {
        const found = await keys.find(header);
        thumbprint = found.thumbprint;
        return found.key;
      },
      {
        issuer,
        audience: [...audience],
        algorithms: [...algorithms],
        clockTolerance: clockToleranceMs / 1_000,
        requiredClaims: ['exp'],
        currentDate: new Date(now()),
      },
    );
    const expMs = Number(payload.exp) * 1_000;
    if (expMs - now() > maxLifetimeMs + clockToleranceMs)
      throw invalidToken('lifetime', `it is good for longer than ${maxLifetimeMs} ms`);
    const node = nodeOfClaim(Object.hasOwn(payload, nodeClaim) ? payload[nodeClaim] : undefined, this.#options);
    return { node, endsMs: expMs + clockToleranceMs, key: { issuer, thumbprint } };
  }
}

/** What jose found wrong, without its words, which may quote the token. */
function explain(error: unknown): FedgateError {
  if (error instanceof FedgateError) return error;
  if (error instanceof errors.JWTExpired) return new FedgateError('TOKEN_EXPIRED', 'the token is past its end');
  if (error instanceof errors.JWTClaimValidationFailed) return claimProblem(error.claim, error.reason);
  if (error instanceof errors.JOSEAlgNotAllowed)
    return invalidToken('algorithm', 'its algorithm is not one of `algorithms`');
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return invalidToken('signature', 'its signature does not hold');
  if (error instanceof errors.JWKSNoMatchingKey)
    return invalidToken('key', 'it names a key that its issuer does not have');
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return invalidToken('key', 'it names no key, and its issuer has several');
  if (error instanceof errors.JOSENotSupported) return invalidToken('algorithm', 'it needs what is not supported');
  return invalidToken('malformed', 'it is no signed JWT');
}

function claimProblem(claim: string, reason: string): FedgateError {
  if (claim === 'aud') return invalidToken('audience', 'it is not for this gateway');
  if (claim === 'iss') return invalidToken('issuer', 'it is of another issuer');
  if (claim === 'exp' && reason === 'missing') return invalidToken('no-expiry', 'it has no end');
  if (claim === 'nbf' && reason === 'check_failed') return invalidToken('not-yet-valid', 'it is not good yet');
  return invalidToken('claims', 'a claim is missing or not of its kind');
}
