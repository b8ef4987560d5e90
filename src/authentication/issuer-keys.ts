import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWK,
  type JWTHeaderParameters,
} from 'jose';
import { FedgateError } from '../errors.js';
import { type FetchJson, fetchJson } from './fetch-json.js';

/** The most keys of one issuer. */
export const MAX_ISSUER_KEYS = 100;
/** How long after a fetch that failed the next is tried, milliseconds. */
export const FETCH_RETRY_MS = 1_000;

export interface IssuerKeysOptions {
  readonly issuer: string;
  /** Where the keys are; undefined: where `ISSUER/.well-known/openid-configuration` says. */
  readonly jwksUri?: string | undefined;
  /** PEM. */
  readonly ca?: string | undefined;
  /** For how long keys count without being fetched again, milliseconds. */
  readonly lifetimeMs: number;
  /** For how long they count while they cannot be fetched, milliseconds. */
  readonly staleMs: number;
  /** The least time between two fetches because of keys that are not known, milliseconds. */
  readonly cooldownMs: number;
  readonly now: () => number;
  readonly fetch?: FetchJson | undefined;
  /** Hears when the keys cannot be fetched, once until they can. */
  readonly onTrouble: (error: FedgateError) => void;
}

type KeySet = ReturnType<typeof createLocalJWKSet>;
export type VerificationKey = Awaited<ReturnType<KeySet>>;

interface Fetched {
  readonly keys: KeySet;
  /** What each key is known by. */
  readonly thumbprints: ReadonlySet<string>;
  readonly byKid: ReadonlyMap<string, string>;
  readonly atMs: number;
}

/** The public keys of an issuer, fetched when they are needed, kept for a time, fetched again when a token names another one. */
export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  readonly #listeners = new Set<() => void>();
  #fetched: Fetched | undefined;
  #fetching: Promise<void> | undefined;
  #attemptMs = Number.NEGATIVE_INFINITY;
  #failure: FedgateError | undefined;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
  }

  /** Whether the keys at hand count without looking for newer ones. */
  get fresh(): boolean {
    return this.#fetched !== undefined && this.#options.now() - this.#fetched.atMs < this.#options.lifetimeMs;
  }

  /** Whether a key is one of the issuer's, as far as is known. */
  has(thumbprint: string): boolean {
    return this.#fetched?.thumbprints.has(thumbprint) === true && !this.#tooOld();
  }

  /** Hears when keys vanished. */
  onGone(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Makes sure that there are keys that count. Throws AUTHENTICATOR_UNAVAILABLE. */
  async ready(): Promise<void> {
    if (this.fresh) return;
    await this.#refresh(FETCH_RETRY_MS);
    if (!this.#fetched || this.#tooOld()) throw this.#unavailable();
  }

  /** Fetches keys that a token names and that are not known, unless that was tried a moment ago. */
  async lookAgain(): Promise<void> {
    await this.#refresh(this.#options.cooldownMs);
  }

  /** Looks whether the keys are still the same, when that is due: for streams that outlive the call that began them. */
  async recheck(): Promise<void> {
    if (!this.#fetched || this.fresh) return;
    await this.#refresh(FETCH_RETRY_MS);
    if (this.#tooOld()) this.#tellGone();
  }

  /** The key of a token's header, and what it is known by. Throws what jose throws when there is none, or more than one. */
  async find(header: JWTHeaderParameters): Promise<{ key: VerificationKey; thumbprint: string }> {
    const fetched = this.#fetched;
    if (!fetched) throw this.#unavailable();
    const { kid } = header;
    const [only] = fetched.thumbprints;
    // Which of several it is must be said: otherwise nobody could tell later whether that one is still there.
    if (kid === undefined && fetched.thumbprints.size > 1) throw new errors.JWKSMultipleMatchingKeys();
    const thumbprint = kid === undefined ? only : fetched.byKid.get(kid);
    if (thumbprint === undefined) throw new errors.JWKSNoMatchingKey();
    return { key: await fetched.keys(header), thumbprint };
  }

  #tooOld(): boolean {
    const { now, staleMs, lifetimeMs } = this.#options;
    return this.#fetched !== undefined && now() - this.#fetched.atMs >= Math.max(staleMs, lifetimeMs);
  }

  #unavailable(): FedgateError {
    return new FedgateError('AUTHENTICATOR_UNAVAILABLE', 'the keys of the issuer cannot be had at the moment', {
      ...(this.#failure === undefined ? {} : { cause: this.#failure }),
      retryAfterMs: FETCH_RETRY_MS,
    });
  }

  /** One fetch at a time, and none sooner than `apartMs` after the last. Never throws. */
  #refresh(apartMs: number): Promise<void> {
    if (this.#fetching !== undefined) return this.#fetching;
    if (this.#options.now() - this.#attemptMs < apartMs) return Promise.resolve();
    this.#attemptMs = this.#options.now();
    this.#fetching = this.#fetch()
      .then(
        fetched => this.#take(fetched),
        error => {
          const failure = error as FedgateError;
          if (!this.#failure) this.#options.onTrouble(failure);
          this.#failure = failure;
        },
      )
      .finally(() => {
        this.#fetching = undefined;
      });
    return this.#fetching;
  }

  #take(fetched: Fetched): void {
    const before = this.#fetched;
    this.#fetched = fetched;
    this.#failure = undefined;
    if (before && [...before.thumbprints].some(known => !fetched.thumbprints.has(known))) this.#tellGone();
  }

  #tellGone(): void {
    for (const listener of this.#listeners) listener();
  }

  async #fetch(): Promise<Fetched> {
    const { jwksUri, ca, now, fetch = fetchJson } = this.#options;
    const uri = jwksUri ?? (await this.#discover());
    const document = (await fetch(uri, ca)) as { readonly keys?: unknown } | null;
    if (!Array.isArray(document?.keys)) throw unusable(uri, 'is no set of keys');
    // A shared secret in a public document is none, and a key for encryption signs nothing.
    const keys = document.keys.filter(isSignatureKey);
    if (keys.length === 0) throw unusable(uri, 'has no key for signatures');
    if (keys.length > MAX_ISSUER_KEYS) throw unusable(uri, `has more than ${MAX_ISSUER_KEYS} keys`);
    const byKid = new Map<string, string>();
    const thumbprints = new Set<string>();
    for (const key of keys) {
      const thumbprint = await calculateJwkThumbprint(key);
      thumbprints.add(thumbprint);
      if (key.kid === undefined) continue;
      if (byKid.has(key.kid)) throw unusable(uri, 'has two keys of one kid');
      byKid.set(key.kid, thumbprint);
    }
    return { keys: createLocalJWKSet({ keys } as JSONWebKeySet), thumbprints, byKid, atMs: now() };
  }

  /** OpenID Connect Discovery 1.0, section 4. */
  async #discover(): Promise<string> {
    const { issuer, ca, fetch = fetchJson } = this.#options;
    const uri = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const document = (await fetch(uri, ca)) as { readonly issuer?: unknown; readonly jwks_uri?: unknown } | null;
    if (document?.issuer !== issuer) throw unusable(uri, 'is that of another issuer');
    if (typeof document.jwks_uri !== 'string') throw unusable(uri, 'names no jwks_uri');
    return document.jwks_uri;
  }
}

function isSignatureKey(key: unknown): key is JWK {
  const { kty, use, kid } = (key ?? {}) as JWK;
  return (
    (kty === 'RSA' || kty === 'EC' || kty === 'OKP') &&
    (use === undefined || use === 'sig') &&
    (kid === undefined || (typeof kid === 'string' && kid.length <= 1_024))
  );
}

const unusable = (uri: string, why: string): FedgateError =>
  new FedgateError('AUTHENTICATOR_UNAVAILABLE', `${uri}: ${why}`);
