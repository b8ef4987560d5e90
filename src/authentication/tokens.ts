import { createHash } from 'node:crypto';
import { decodeJwt } from 'jose';
import { FedgateError } from '../errors.js';
import { invalidToken } from './bearer.js';
import type { TokenVerifier } from './token-verifier.js';
import type { TokenNode } from './types.js';

/** Tokens that are known to be good, so that not every call costs a signature. */
export const MAX_KNOWN_TOKENS = 10_000;
/** Tokens that are being verified at once. */
export const MAX_PENDING_TOKENS = 1_000;

/** Verifies tokens of several issuers, and remembers those that are good. Never keeps a token, only its digest. */
export class Tokens {
  readonly #verifiers: readonly TokenVerifier[];
  readonly #now: () => number;
  readonly #known = new Map<string, { readonly node: TokenNode; readonly verifier: TokenVerifier }>();
  readonly #pending = new Map<string, Promise<TokenNode>>();

  constructor(verifiers: readonly TokenVerifier[], now: () => number = Date.now) {
    this.#verifiers = verifiers;
    this.#now = now;
  }

  /** Whether a token says that it is of an issuer that is known here. Proves nothing. */
  speaksOf(token: string): boolean {
    return this.#verifierOf(token) !== undefined;
  }

  /**
   * Who a token speaks for: at once when it is known, else a promise. The same token is verified once at a time. Throws and rejects with
   * TOKEN_INVALID, TOKEN_EXPIRED, AUTHENTICATOR_UNAVAILABLE, LIMIT_REACHED.
   */
  identify(token: string): TokenNode | Promise<TokenNode> {
    const digest = createHash('sha256').update(token).digest('base64');
    const known = this.#known.get(digest);
    if (known?.verifier.keys.fresh && known.node.key && known.verifier.keys.has(known.node.key.thumbprint)) {
      if (this.#now() < known.node.endsMs) return known.node;
      this.#known.delete(digest);
      throw new FedgateError('TOKEN_EXPIRED', 'the token is past its end');
    }
    const pending = this.#pending.get(digest);
    if (pending !== undefined) return pending;
    const verifier = this.#verifierOf(token);
    if (!verifier) throw invalidToken('issuer', 'it is of no issuer that is known here, or no JWT');
    if (this.#pending.size >= MAX_PENDING_TOKENS) throw tooMany();
    const verifying = verifier.verify(token).then(node => {
      if (this.#known.size >= MAX_KNOWN_TOKENS) this.#known.clear();
      this.#known.set(digest, { node, verifier });
      return node;
    });
    this.#pending.set(digest, verifying);
    const done = (): void => void this.#pending.delete(digest);
    verifying.then(done, done);
    return verifying;
  }

  /** Whether what a node was identified with still counts. */
  stillGood({ endsMs, key }: TokenNode): boolean {
    if (this.#now() >= endsMs) return false;
    return (
      key === undefined || this.#verifiers.some(({ issuer, keys }) => issuer === key.issuer && keys.has(key.thumbprint))
    );
  }

  /** Hears when keys vanished. */
  onGone(listener: () => void): void {
    for (const { keys } of this.#verifiers) keys.onGone(listener);
  }

  /** Looks whether keys are gone, when that is due. */
  async recheck(): Promise<void> {
    await Promise.all(this.#verifiers.map(({ keys }) => keys.recheck()));
  }

  #verifierOf(token: string): TokenVerifier | undefined {
    try {
      const { iss } = decodeJwt(token);
      return this.#verifiers.find(({ issuer }) => issuer === iss);
    } catch {
      return undefined;
    }
  }
}

const tooMany = (): FedgateError =>
  new FedgateError('LIMIT_REACHED', 'too many tokens are being verified', {
    metadata: { limit: 'tokens being verified' },
    retryAfterMs: 100,
  });
