import { setMaxListeners } from 'node:events';
import { describe } from '../errors.js';
import { formatHostPort, type OrgName, parseHostPort } from '../identity/names.js';
import { type LookUp, placesOf } from './places.js';
import type { AddressHint, FoundAddress, Resolver, ResolverReport } from './types.js';

export interface FinderOptions {
  /** In the order of the chain. */
  readonly resolvers: readonly Resolver[];
  /** Whether hints that were looked for may lead to loopback and link-local addresses. */
  readonly localPlaces: boolean;
  /** How long what was found is used again, milliseconds. */
  readonly lifetimeMs: number;
  /** Monotonic, milliseconds. @default performance.now */
  readonly now?: () => number;
  /** @default the system's */
  readonly lookUp?: LookUp;
}

/** Hints of one resolver about one organisation that are used. */
export const MAX_HINTS = 8;
/** How long all resolvers together may look, milliseconds. */
export const FIND_TIMEOUT_MS = 3_000;
/** How long nobody is asked again when nothing was found, milliseconds; less when the lifetime is less. */
export const EMPTY_LIFETIME_MS = 10_000;
/** How long a hint that led nowhere rests, milliseconds. */
export const HINT_REST_MS = 60_000;
/** Organisations for which what was found is kept. */
const MAX_KEPT = 1_000;

interface Kept {
  readonly untilMs: number;
  readonly addresses: readonly FoundAddress[];
}

/**
 * The chain of resolvers. What is at hand (the configuration, the registry) is tried first; only when none of it led to a link are the
 * others asked, all at once, and their answers are taken in the order of the chain.
 *
 * A hint costs a dial that fails and nothing more: there are at most so many of each resolver, they lead nowhere on this machine unless that
 * is allowed, and one that failed rests for a minute.
 */
export class Finder {
  readonly #options: FinderOptions;
  readonly #now: () => number;
  readonly #kept = new Map<OrgName, Kept>();
  readonly #looking = new Map<OrgName, Promise<readonly FoundAddress[]>>();
  readonly #resting = new Map<string, number>();

  constructor(options: FinderOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Whether there is a resolver that has to look. */
  get looks(): boolean {
    return this.#options.resolvers.some(({ atHand }) => !atHand);
  }

  /** What is known without looking, in the order to be tried. Throws as Directory.activeMember. */
  atHand(org: OrgName): FoundAddress[] {
    return this.#options.resolvers.flatMap(({ name, atHand }) => attributed(atHand?.(org) ?? [], name));
  }

  /** What the others find, each address once, without those that rest. Never rejects: when nobody knows anything it is empty. */
  async find(org: OrgName): Promise<FoundAddress[]> {
    const kept = this.#kept.get(org);
    const found = kept && kept.untilMs > this.#now() ? kept.addresses : await this.#lookOnce(org);
    return found.filter(({ address }) => (this.#resting.get(keyOf(org, address)) ?? 0) <= this.#now());
  }

  /** A hint led nowhere. Those at hand are tried again all the same. */
  failed(org: OrgName, address: string): void {
    if (this.#resting.size >= MAX_KEPT * MAX_HINTS) this.#resting.clear();
    this.#resting.set(keyOf(org, address), this.#now() + HINT_REST_MS);
  }

  /** Looks again for everything and says what each resolver answered, in the order of the chain. */
  async report(org: OrgName): Promise<ResolverReport[]> {
    return this.#askAll(this.#options.resolvers, org);
  }

  /** One look for an organisation at a time, whoever wants it. */
  #lookOnce(org: OrgName): Promise<readonly FoundAddress[]> {
    const running = this.#looking.get(org);
    if (running !== undefined) return running;
    const looking = this.#look(org).finally(() => this.#looking.delete(org));
    this.#looking.set(org, looking);
    return looking;
  }

  async #look(org: OrgName): Promise<readonly FoundAddress[]> {
    const others = this.#options.resolvers.filter(({ atHand }) => !atHand);
    const reports = await this.#askAll(others, org);
    const addresses = distinct(reports.flatMap(report => report.addresses));
    const { lifetimeMs } = this.#options;
    const goodMs = addresses.length > 0 ? lifetimeMs : Math.min(lifetimeMs, EMPTY_LIFETIME_MS);
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
    this.#kept.set(org, { untilMs: this.#now() + goodMs, addresses });
    return addresses;
  }

  async #askAll(resolvers: readonly Resolver[], org: OrgName): Promise<ResolverReport[]> {
    const ended = new AbortController();
    // Each hint listens to it.
    setMaxListeners(0, ended.signal);
    const timer = setTimeout(() => ended.abort(), FIND_TIMEOUT_MS);
    try {
      return await Promise.all(resolvers.map(resolver => this.#ask(resolver, org, ended.signal)));
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(resolver: Resolver, org: OrgName, ended: AbortSignal): Promise<ResolverReport> {
    const { name } = resolver;
    try {
      const hints = await unless(ended, resolver.find(org, ended));
      if (resolver.atHand) return { name, addresses: attributed(hints, name), refused: 0 };
      const used = hints.slice(0, MAX_HINTS);
      const places = await Promise.all(used.map(hint => unless(ended, this.#places(hint))));
      const refused = hints.length - used.length + places.filter(({ length }) => length === 0).length;
      return { name, addresses: attributed(distinct(places.flat()).slice(0, MAX_HINTS), name), refused };
    } catch (error) {
      return { name, addresses: [], refused: 0, failure: ended.aborted ? 'no answer in time' : describe(error) };
    }
  }

  async #places(hint: AddressHint): Promise<readonly AddressHint[]> {
    const { localPlaces: local, lookUp } = this.#options;
    // A hint that means nothing is one less.
    return placesOf(hint, { local, lookUp }).catch(() => []);
  }
}

const attributed = (hints: readonly AddressHint[], source: FoundAddress['source']): FoundAddress[] =>
  hints.map(({ gateway, address }) => ({ gateway, address, source }));

const keyOf = (org: OrgName, address: string): string => `${org} ${address}`;

/** The first of those that lead to the same gateway at the same place. */
function distinct<T extends AddressHint>(hints: readonly T[]): T[] {
  const seen = new Set<string>();
  return hints.filter(({ gateway = '', address }) => {
    const key = `${gateway}@${formatHostPort(parseHostPort(address, 'address')).toLowerCase()}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** Rejects when the signal fires first, whatever becomes of the promise. */
function unless<T>(ended: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(ended.reason);
    const settled = (): void => ended.removeEventListener('abort', giveUp);
    promise.then(resolve, reject).finally(settled);
    if (ended.aborted) giveUp();
    else ended.addEventListener('abort', giveUp, { once: true });
  });
}
