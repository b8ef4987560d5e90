import { createHash } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, FedgateError } from '../errors.js';
import { parseNodeName } from '../identity/names.js';
import type { AuthenticatedNode, AuthenticationCall, Authenticator } from './authenticator.js';
import { invalidToken } from './bearer.js';
import type { TokenNode } from './types.js';

/** The longest time that an answer of the module is remembered, milliseconds. */
export const MAX_MODULE_CACHE_MS = 300_000;
/** Answers that are remembered. */
export const MAX_MODULE_CACHE = 10_000;
/** Calls that wait for the module at once. */
export const MAX_MODULE_CALLS = 1_000;

export interface OperatorModuleOptions {
  readonly authenticator: Authenticator;
  /** The longest wait for an answer, milliseconds. */
  readonly timeoutMs: number;
  readonly now: () => number;
  /** Hears what the module threw or answered wrongly. */
  readonly onTrouble: (error: unknown) => void;
}

/** Loads an operator's module. Throws FILE_UNUSABLE: not there, not one, or somebody else could change it. */
export async function loadAuthenticator(path: string): Promise<Authenticator> {
  await checkOwner(path);
  let loaded: { readonly default?: unknown; readonly authenticate?: unknown };
  try {
    loaded = await import(pathToFileURL(path).href);
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${path}: the module does not load: ${describe(cause)}`, { cause });
  }
  for (const candidate of [loaded.default, loaded]) {
    const { authenticate } = (candidate ?? {}) as Partial<Authenticator>;
    if (typeof authenticate === 'function') return candidate as Authenticator;
  }
  throw new FedgateError('FILE_UNUSABLE', `${path}: the module exports no function \`authenticate\``);
}

/** The module runs with the rights of the gateway: whoever may write it, or swap it in its folder, has them too. */
async function checkOwner(path: string): Promise<void> {
  for (const [at, what] of [
    [path, 'module'],
    [dirname(path), "module's folder"],
  ] as const) {
    let stats: Awaited<ReturnType<typeof lstat>>;
    try {
      stats = await lstat(at);
    } catch (cause) {
      throw new FedgateError('FILE_UNUSABLE', `${at}: ${what} not readable: ${describe(cause)}`, { cause });
    }
    if (at === path && !stats.isFile()) throw new FedgateError('FILE_UNUSABLE', `${at}: the module is no regular file`);
    const own = process.getuid?.();
    if (own !== undefined && stats.uid !== own && stats.uid !== 0)
      throw new FedgateError('FILE_UNUSABLE', `${at}: the ${what} belongs to another user (uid ${stats.uid})`);
    if ((stats.mode & 0o022) !== 0) {
      const octal = (stats.mode & 0o777).toString(8).padStart(4, '0');
      throw new FedgateError(
        'FILE_UNUSABLE',
        `${at}: the ${what} can be written by other users (mode ${octal}); run: chmod go-w ${at}`,
      );
    }
  }
}

/** Asks the operator's module, with a deadline. */
export class OperatorModule {
  readonly #options: OperatorModuleOptions;
  readonly #known = new Map<string, { readonly node: TokenNode; readonly untilMs: number }>();
  #asking = 0;

  constructor(options: OperatorModuleOptions) {
    this.#options = options;
  }

  /** Throws and rejects with TOKEN_INVALID, TOKEN_EXPIRED, AUTHENTICATOR_UNAVAILABLE. */
  identify(call: Omit<AuthenticationCall, 'signal'>): TokenNode | Promise<TokenNode> {
    const { token } = call;
    if (token === undefined) return this.#ask(call);
    const digest = createHash('sha256').update(token).digest('base64');
    const known = this.#known.get(digest);
    if (known && this.#options.now() < known.untilMs) return known.node;
    return this.#ask(call, digest);
  }

  async #ask(call: Omit<AuthenticationCall, 'signal'>, digest?: string): Promise<TokenNode> {
    if (this.#asking >= MAX_MODULE_CALLS) throw unavailable('too many calls wait for the authenticator');
    this.#asking++;
    try {
      return this.#judge(await this.#answer(call), digest);
    } finally {
      this.#asking--;
    }
  }

  async #answer(call: Omit<AuthenticationCall, 'signal'>): Promise<AuthenticatedNode | undefined> {
    const { authenticator, timeoutMs, onTrouble } = this.#options;
    const deadline = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(unavailable(`the authenticator did not answer in ${timeoutMs} ms`));
        deadline.abort();
      }, timeoutMs);
    });
    const asked = (async () => authenticator.authenticate({ ...call, signal: deadline.signal }))().catch(error => {
      onTrouble(error);
      throw invalidToken('module', 'the authenticator failed');
    });
    try {
      return await Promise.race([asked, late]);
    } finally {
      clearTimeout(timer);
      // What it still says is of no interest.
      asked.catch(() => undefined);
    }
  }

  #judge(answer: AuthenticatedNode | undefined | null, digest: string | undefined): TokenNode {
    const { now, onTrouble } = this.#options;
    if (answer === undefined || answer === null) throw invalidToken('module', 'the authenticator does not know it');
    const { node, expiresAtMs = Number.POSITIVE_INFINITY, cacheMs = 0 } = answer;
    try {
      parseNodeName(String(node), 'node');
      if (!(Number(expiresAtMs) > 0 && Number(cacheMs) >= 0)) throw new Error('expiresAtMs or cacheMs is no time');
    } catch (error) {
      onTrouble(error);
      throw invalidToken('module', 'the authenticator gave an answer that is none');
    }
    const nowMs = now();
    if (expiresAtMs <= nowMs) throw new FedgateError('TOKEN_EXPIRED', 'the token is past its end');
    const found: TokenNode = { node, endsMs: expiresAtMs, key: undefined };
    const untilMs = Math.min(nowMs + Math.min(cacheMs, MAX_MODULE_CACHE_MS), expiresAtMs);
    if (digest !== undefined && untilMs > nowMs) {
      if (this.#known.size >= MAX_MODULE_CACHE) this.#known.clear();
      this.#known.set(digest, { node: found, untilMs });
    }
    return found;
  }
}

const unavailable = (why: string): FedgateError =>
  new FedgateError('AUTHENTICATOR_UNAVAILABLE', why, { retryAfterMs: 1_000 });
