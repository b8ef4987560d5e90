import { GAP_MS, GRAFT_MS, REFUSED_MS, WANT_TIMEOUT_MS } from './limits.js';
import type { Claim, Neighbour } from './neighbour.js';
import type { Post, StreamId, StreamKey } from './types.js';

/** How a stream is got. */
interface Pursuit {
  readonly id: StreamId;
  readonly key: StreamKey;
  /** Who sends it, or will. */
  source: Neighbour | undefined;
  /** Who was asked and has not sent anything yet. */
  asked: { readonly of: Neighbour; readonly atMs: number } | undefined;
  /** Since when somebody says it has more. */
  behindMs: number | undefined;
  /** Since when nobody has what comes next. */
  gapMs: number | undefined;
  /** Whose next post is taken although it leaves a hole. */
  jump: Neighbour | undefined;
  refusedUntilMs: number;
}

export interface PursuitsHost {
  now(): number;
  random(): number;
  neighbours(): Iterable<Neighbour>;
  /** How far the own gateway has a stream; 0: not at all. */
  lastOf(key: StreamKey): number;
}

/**
 * From whom each stream is got. As a rule one neighbour sends it and the others only tell how far they have it, so that what spreads over a
 * graph with many links goes over few of them. Who falls silent, or goes, is replaced by another that has more.
 */
export class Pursuits {
  readonly #host: PursuitsHost;
  readonly #pursuits = new Map<StreamKey, Pursuit>();
  /** Those for which something is to be done in time. */
  readonly #open = new Set<Pursuit>();

  constructor(host: PursuitsHost) {
    this.#host = host;
  }

  sourceOf(key: StreamKey): Neighbour | undefined {
    return this.#pursuits.get(key)?.source;
  }

  /** A neighbour says how far it has a stream. */
  claimed(neighbour: Neighbour, key: StreamKey, claim: Claim): void {
    const mine = this.#host.lastOf(key);
    if (claim.last < mine) return;
    const pursuit = this.#pursuit(claim.id, key);
    if (isAhead(claim, mine)) {
      pursuit.behindMs ??= this.#host.now();
      this.#open.add(pursuit);
      // Whoever sends it may be about to.
      if (!pursuit.asked && !pursuit.source) this.#seek(pursuit);
    } else if (claim.last === mine && mine > 0 && !pursuit.source && !pursuit.asked) {
      this.#want(pursuit, neighbour, mine + 1);
      pursuit.source = neighbour;
    }
  }

  /** A post was taken. */
  taken({ stream, key, last }: Post, from: Neighbour): void {
    const pursuit = this.#pursuit(stream, key);
    pursuit.source = from;
    pursuit.jump = undefined;
    pursuit.gapMs = undefined;
    if (pursuit.asked?.of === from) pursuit.asked = undefined;
    if (this.#ahead(pursuit, last).length === 0) {
      this.#open.delete(pursuit);
      pursuit.behindMs = undefined;
      pursuit.asked = undefined;
    } else pursuit.behindMs = this.#host.now();
  }

  /** Something came that was here already. Returns whether its sender is to send no more of it. */
  duplicate({ stream, key }: Post, from: Neighbour): boolean {
    const pursuit = this.#pursuit(stream, key);
    if (pursuit.source === from || pursuit.asked?.of === from) return false;
    if (pursuit.source) return true;
    pursuit.source = from;
    return false;
  }

  /** A post came behind a hole. Returns whether it is taken: what lies in the hole then is lost. */
  behindHole(post: Post, from: Neighbour): boolean {
    const { stream, key, first } = post;
    const pursuit = this.#pursuit(stream, key);
    from.has(post);
    const claim = from.claims.get(key);
    // Not what was on its way when it was asked: what it holds begins earlier.
    if (pursuit.jump === from && claim && first <= claim.first) return true;
    // It was asked for what comes next, and began later: that is where what it holds begins.
    if (claim && pursuit.asked?.of === from) {
      claim.first = Math.max(claim.first, first);
      pursuit.asked = undefined;
    }
    pursuit.behindMs ??= this.#host.now();
    this.#open.add(pursuit);
    if (!pursuit.asked) this.#seek(pursuit);
    return false;
  }

  /** What comes of it is not taken for a while. */
  refused(id: StreamId, key: StreamKey): void {
    const pursuit = this.#pursuit(id, key);
    pursuit.refusedUntilMs = this.#host.now() + REFUSED_MS;
    pursuit.asked = undefined;
    pursuit.source = undefined;
    this.#open.add(pursuit);
  }

  /** Whether what comes of it is not taken. */
  isRefused(key: StreamKey): boolean {
    return (this.#pursuits.get(key)?.refusedUntilMs ?? 0) > this.#host.now();
  }

  /** A neighbour is gone: what it sent is got from others. */
  left(neighbour: Neighbour): void {
    for (const pursuit of [...this.#pursuits.values()]) {
      const had = pursuit.source === neighbour || pursuit.asked?.of === neighbour || pursuit.jump === neighbour;
      if (!had) continue;
      pursuit.source = undefined;
      pursuit.asked = undefined;
      pursuit.jump = undefined;
      this.#replace(pursuit);
    }
  }

  forget(key: StreamKey): void {
    const pursuit = this.#pursuits.get(key);
    if (!pursuit) return;
    this.#pursuits.delete(key);
    this.#open.delete(pursuit);
  }

  tick(): void {
    const now = this.#host.now();
    for (const pursuit of this.#open) {
      if (pursuit.refusedUntilMs > now) continue;
      const { asked } = pursuit;
      if (asked && now - asked.atMs < WANT_TIMEOUT_MS) continue;
      // It said that it has it, and does not send it: what it says counts no more.
      if (asked) this.#disbelieve(pursuit, asked.of);
      const isDue = asked || pursuit.gapMs !== undefined || now - (pursuit.behindMs ?? 0) >= GRAFT_MS;
      if (isDue || !pursuit.source) this.#seek(pursuit);
    }
  }

  /** Asks somebody who has what comes next; when nobody has, after a while, who has what comes soonest. */
  #seek(pursuit: Pursuit): void {
    const now = this.#host.now();
    if (pursuit.refusedUntilMs > now) return;
    const mine = this.#host.lastOf(pursuit.key);
    const ahead = this.#ahead(pursuit, mine);
    if (ahead.length === 0) {
      this.#open.delete(pursuit);
      pursuit.behindMs = undefined;
      pursuit.gapMs = undefined;
      if (mine === 0) this.#pursuits.delete(pursuit.key);
      return;
    }
    const whole = ahead.filter(({ claim }) => claim.first <= mine + 1);
    const [chosen] = whole.length > 0 ? this.#shuffled(whole) : ahead.sort((a, b) => a.claim.first - b.claim.first);
    if (!chosen) return;
    if (whole.length === 0) {
      pursuit.gapMs ??= now;
      if (now - pursuit.gapMs < GAP_MS) return;
      pursuit.jump = chosen.neighbour;
    } else pursuit.gapMs = undefined;
    this.#want(pursuit, chosen.neighbour, mine + 1);
    pursuit.asked = { of: chosen.neighbour, atMs: now };
  }

  /** Whoever has as much or more sends it from now on. */
  #replace(pursuit: Pursuit): void {
    const mine = this.#host.lastOf(pursuit.key);
    if (this.#ahead(pursuit, mine).length > 0) {
      this.#open.add(pursuit);
      return this.#seek(pursuit);
    }
    this.#open.delete(pursuit);
    const [other] = this.#claims(pursuit).filter(({ claim }) => claim.last === mine && mine > 0);
    if (other) {
      this.#want(pursuit, other.neighbour, mine + 1);
      pursuit.source = other.neighbour;
    } else if (mine === 0) this.#pursuits.delete(pursuit.key);
  }

  #disbelieve(pursuit: Pursuit, neighbour: Neighbour): void {
    const claim = neighbour.claims.get(pursuit.key);
    if (claim) claim.last = Math.min(claim.last, this.#host.lastOf(pursuit.key));
    pursuit.asked = undefined;
    pursuit.jump = undefined;
    if (pursuit.source === neighbour) pursuit.source = undefined;
  }

  #want({ id, key }: Pursuit, of: Neighbour, from: number): void {
    of.stopped.delete(key);
    of.out.put({ kind: 'want', stream: id, from });
  }

  #ahead(pursuit: Pursuit, mine: number): { readonly neighbour: Neighbour; readonly claim: Claim }[] {
    return this.#claims(pursuit).filter(({ claim }) => isAhead(claim, mine));
  }

  #claims({ key }: Pursuit): { readonly neighbour: Neighbour; readonly claim: Claim }[] {
    const found: { readonly neighbour: Neighbour; readonly claim: Claim }[] = [];
    for (const neighbour of this.#host.neighbours()) {
      const claim = neighbour.claims.get(key);
      if (claim && !neighbour.cut) found.push({ neighbour, claim });
    }
    return found;
  }

  #shuffled<T>(items: readonly T[]): T[] {
    const at = Math.floor(this.#host.random() * items.length);
    return [...items.slice(at), ...items.slice(0, at)];
  }

  #pursuit(id: StreamId, key: StreamKey): Pursuit {
    let pursuit = this.#pursuits.get(key);
    if (!pursuit) {
      pursuit = {
        id,
        key,
        source: undefined,
        asked: undefined,
        behindMs: undefined,
        gapMs: undefined,
        jump: undefined,
        refusedUntilMs: 0,
      };
      this.#pursuits.set(key, pursuit);
    }
    return pursuit;
  }
}

/** Whether somebody holds something that we do not have. */
const isAhead = ({ first, last }: Claim, mine: number): boolean => last > mine && first <= last;
