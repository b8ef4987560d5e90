import { stat } from 'node:fs/promises';
import { describe, FedgateError } from '../errors.js';
import { readText } from '../identity/files.js';

/** A bearer token, or what gets one when one is needed. */
export type TokenSource = string | (() => string | Promise<string>);

/** How long before a token's end the next one is asked for, milliseconds. */
const RENEW_BEFORE_MS = 5_000;
/** The least time between two questions for a token while there is one. */
const ASK_APART_MS = 1_000;
// RFC 6750, section 2.1
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** A token source that reads a file, anew each time: somebody else may replace it. Throws FILE_UNUSABLE, or KEY_EXPOSED when everybody can read it. */
export const tokenFile = (path: string) => async (): Promise<string> => {
  const text = await readText(path, 'token');
  const { mode } = await stat(path);
  if ((mode & 0o007) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, '0');
    throw new FedgateError(
      'KEY_EXPOSED',
      `${path}: everybody can read the token (mode ${octal}); run: chmod o= ${path}`,
    );
  }
  return text.trim();
};

/** Keeps a token for as long as it is good, and gets the next one. */
export class TokenKeeper {
  readonly #source: TokenSource;
  #token: string | undefined;
  #endsMs = Number.POSITIVE_INFINITY;
  #askedMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<string> | undefined;

  constructor(source: TokenSource) {
    this.#source = source;
  }

  /** Whether another one may come. */
  get renewable(): boolean {
    return typeof this.#source === 'function';
  }

  /** The next call gets a new one. */
  forget(): void {
    this.#token = undefined;
  }

  /** Asks the source once at a time. Throws TOKEN_UNAVAILABLE, or what a source of ours says. */
  current(): Promise<string> {
    const token = this.#token;
    // A source that still gives the one that is about to end is not asked with every call.
    const asked = performance.now() - this.#askedMs < ASK_APART_MS;
    if (token !== undefined && (asked || Date.now() < this.#endsMs - RENEW_BEFORE_MS)) return Promise.resolve(token);
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<string> {
    const token = await this.#given();
    if (typeof token !== 'string' || !TOKEN.test(token))
      throw new FedgateError('TOKEN_UNAVAILABLE', 'the token source gave what is no bearer token');
    this.#token = token;
    this.#askedMs = performance.now();
    this.#endsMs = endOf(token);
    return token;
  }

  async #given(): Promise<string> {
    const source = this.#source;
    if (typeof source === 'string') return source;
    try {
      return await source();
    } catch (cause) {
      if (cause instanceof FedgateError) throw cause;
      throw new FedgateError('TOKEN_UNAVAILABLE', `the token source failed: ${describe(cause)}`, { cause });
    }
  }
}

/** What a JWT says of its end, unproven: only for when to ask for the next. Infinity: nothing that can be read. */
function endOf(token: string): number {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as {
      exp?: unknown;
    };
    return typeof exp === 'number' ? exp * 1_000 : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
