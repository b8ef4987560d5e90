import type { Held } from './held.js';
import type { KeyOwners } from './key-owners.js';
import { lengthOf, type Range } from './ranges.js';

/**
 * Where records are that are not settled.
 *
 * - `ready`: to be delivered as soon as somebody takes them
 * - `out`: delivered to a consumer, until `dueMs`
 * - `delayed`: given back, to be delivered from `dueMs` on
 * - `dead`: given up, until that is on stable storage
 */
export type SegmentState = 'ready' | 'out' | 'delayed' | 'dead';

/** Records of one entry, next to each other, with one fate. */
export interface Segment {
  first: number;
  last: number;
  readonly held: Held;
  state: SegmentState;
  /** How often they were delivered. */
  count: number;
  /** When out: to whom. */
  consumer: number;
  dueMs: number;
  /** What the consumer last said of them. */
  reason: string;
  /** Something between the segment before and this one was settled. */
  behindSettled: boolean;
}

/** A consumer that may be given records. */
export interface Taker {
  readonly id: number;
  /** How many more it takes now. */
  room: number;
}

export interface LedgerOptions {
  readonly owners: KeyOwners;
  maxDeliveries: number;
}

export const NOT_ACKNOWLEDGED = 'it was not acknowledged in time';
export const CONSUMER_GONE = 'the consumer went away';

/**
 * The records of a subscription that are not settled, in the order of their offsets. No I/O, no clock.
 *
 * Neighbours with one fate are one segment, so that a consumer that takes whole frames and acknowledges whole frames costs one segment a
 * frame, whatever the number of records in it.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  #segments: Segment[] = [];
  /** No segment before this offset is ready; nor waits one there whose keys hold back what comes later. */
  #readyFrom = 0;
  #open = 0;
  #out = 0;
  #dead = 0;
  /** What stands behind the last segment was settled. */
  #tailSettled = false;
  #turn = 0;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** Records that are not settled, those that are out, and those that were given up. */
  get open(): number {
    return this.#open;
  }

  get out(): number {
    return this.#out;
  }

  get dead(): number {
    return this.#dead;
  }

  get tailSettled(): boolean {
    return this.#tailSettled;
  }

  /** What comes next was settled before: it stands between the last segment and the one to come. */
  skipSettled(): void {
    this.#tailSettled = true;
  }

  /** Adds records that nobody has now. They were delivered `count` times before. */
  add(first: number, last: number, held: Held, count: number): void {
    const at = this.#after(first);
    const next = this.#segments[at];
    const behindSettled = next ? false : this.#tailSettled;
    if (!next) this.#tailSettled = false;
    const segment: Segment = {
      first,
      last,
      held,
      count,
      state: 'ready',
      consumer: 0,
      dueMs: 0,
      reason: NOT_ACKNOWLEDGED,
      behindSettled,
    };
    this.#segments.splice(at, 0, segment);
    const records = lengthOf(segment);
    held.open += records;
    this.#open += records;
    this.#comeBack(segment, 0);
  }

  /** Takes records away from a consumer that has acknowledged them. What was not out to it is left alone. */
  settle(consumer: number, ranges: readonly Range[], settled: (piece: Segment) => void): number {
    return this.#carve(ranges, consumer, piece => {
      this.#leave(piece);
      this.#close(piece);
      settled(piece);
      return false;
    });
  }

  /** Takes records back from a consumer, to be delivered again from `readyMs` on (0: now), or given up. */
  giveBack(consumer: number, ranges: readonly Range[], readyMs: number, reason: string, giveUp: boolean): number {
    return this.#carve(ranges, consumer, piece => {
      this.#leave(piece);
      if (reason !== '') piece.reason = reason;
      if (giveUp) this.#giveUp(piece);
      else this.#comeBack(piece, readyMs);
      return true;
    });
  }

  /** Gives a consumer more time. */
  extend(consumer: number, ranges: readonly Range[], dueMs: number): number {
    return this.#carve(ranges, consumer, piece => {
      piece.dueMs = dueMs;
      return true;
    });
  }

  /** Takes back everything that is out to a consumer that is gone. */
  abandon(consumer: number): void {
    for (const segment of this.#segments) {
      if (segment.state !== 'out' || segment.consumer !== consumer) continue;
      this.#leave(segment);
      segment.reason = CONSUMER_GONE;
      this.#comeBack(segment, 0);
    }
  }

  /** Takes back what was out too long, and what was delayed long enough. Returns when to do so again. */
  expire(nowMs: number): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const segment of this.#segments) {
      if (segment.state !== 'out' && segment.state !== 'delayed') continue;
      if (segment.dueMs > nowMs) {
        nextMs = Math.min(nextMs, segment.dueMs);
        continue;
      }
      if (segment.state === 'out') {
        this.#leave(segment);
        segment.reason = NOT_ACKNOWLEDGED;
      }
      this.#comeBack(segment, 0);
    }
    return nextMs;
  }

  /**
   * Gives what is ready to consumers, in order. `deliver` hears of each piece after it is out and may set a taker's room to 0. `pass` judges
   * entries that have nothing to deliver: true settles the piece. Returns an entry that must be loaded before it can go on.
   *
   * A record with a key goes to nobody but the consumer that has others of that key out, and never before an earlier one of its key that is
   * not out. What cannot go waits, and what comes behind it with other keys goes past it.
   */
  assign(
    takers: readonly Taker[],
    dueMs: number,
    deliver: (taker: Taker, piece: Segment) => void,
    pass: (taker: Taker, piece: Segment) => boolean,
  ): Held | undefined {
    const blocked = new Set<number>();
    let index = this.#after(this.#readyFrom);
    let allBefore = true;
    for (; index < this.#segments.length; index++) {
      const segment = this.#segments[index] as Segment;
      if (segment.state === 'out') continue;
      if (segment.state !== 'ready') {
        if (segment.held.keys && allBefore) {
          this.#readyFrom = segment.first;
          allBefore = false;
        }
        block(segment, blocked);
        continue;
      }
      const taker = this.#preferred(takers);
      if (!taker) {
        if (allBefore) this.#readyFrom = segment.first;
        return undefined;
      }
      if (pass(taker, segment)) {
        segment.held.ready -= lengthOf(segment);
        this.#close(segment);
        this.#remove(index--);
        continue;
      }
      if (!segment.held.loaded) {
        if (allBefore) this.#readyFrom = segment.first;
        return segment.held;
      }
      const pieces = segment.held.keys
        ? this.#share(segment, segment.held.keys, taker, takers, blocked)
        : this.#cut(segment, taker);
      this.#replace(
        index,
        index + 1,
        pieces.map(({ piece }) => piece),
      );
      index += pieces.length - 1;
      for (const { piece, taker: to } of pieces) {
        if (to) {
          this.#takeOut(piece, to.id, dueMs);
          deliver(to, piece);
        } else if (allBefore) {
          this.#readyFrom = piece.first;
          allBefore = false;
        }
      }
    }
    if (allBefore) this.#readyFrom = (this.#segments.at(-1)?.last ?? -1) + 1;
    return undefined;
  }

  /** The first records that were given up, at most so many. */
  firstDead(limit: number): Segment | undefined {
    const index = this.#segments.findIndex(({ state }) => state === 'dead');
    const segment = this.#segments[index];
    if (!segment || lengthOf(segment) <= limit) return segment;
    const first = part(segment, segment.first, segment.first + limit - 1);
    this.#replace(index, index + 1, [first, part(segment, first.last + 1, segment.last)]);
    return first;
  }

  /** Takes out records that were given up. */
  bury(segment: Segment): void {
    const index = this.#segments.indexOf(segment);
    if (index < 0) return;
    this.#dead -= lengthOf(segment);
    this.#close(segment);
    this.#remove(index);
  }

  #preferred(takers: readonly Taker[]): Taker | undefined {
    for (let i = 0; i < takers.length; i++) {
      const taker = takers[(this.#turn + i) % takers.length] as Taker;
      if (taker.room <= 0) continue;
      this.#turn = (this.#turn + i + 1) % takers.length;
      return taker;
    }
    return undefined;
  }

  /** As much of a segment as a taker takes. */
  #cut(segment: Segment, taker: Taker): Share[] {
    const records = lengthOf(segment);
    if (records <= taker.room) {
      taker.room -= records;
      return [{ piece: segment, taker }];
    }
    const first = part(segment, segment.first, segment.first + taker.room - 1);
    taker.room = 0;
    return [
      { piece: first, taker },
      { piece: part(segment, first.last + 1, segment.last), taker: undefined },
    ];
  }

  /** Splits a segment by who may have the key of each record. */
  #share(segment: Segment, keys: Uint32Array, first: Taker, takers: readonly Taker[], blocked: Set<number>): Share[] {
    const pieces: Share[] = [];
    const chosen = new Map<number, Taker>();
    let from = segment.first;
    let current: Taker | undefined;
    let preferred: Taker | undefined = first;
    for (let offset = segment.first; offset <= segment.last; offset++) {
      const key = keys[offset - segment.held.entry.offset] ?? 0;
      if (!preferred || preferred.room <= 0) preferred = this.#preferred(takers);
      let taker: Taker | undefined = preferred;
      if (key !== 0) {
        if (blocked.has(key)) taker = undefined;
        else {
          const owner = this.#options.owners.of(key);
          taker = chosen.get(key) ?? (owner === undefined ? preferred : takers.find(({ id }) => id === owner));
        }
        if (taker && taker.room <= 0) taker = undefined;
        if (taker) chosen.set(key, taker);
        else blocked.add(key);
      }
      if (taker) taker.room--;
      if (offset > segment.first && taker !== current) {
        pieces.push({ piece: part(segment, from, offset - 1), taker: current });
        from = offset;
      }
      current = taker;
    }
    pieces.push({ piece: part(segment, from, segment.last), taker: current });
    return pieces;
  }

  #takeOut(piece: Segment, consumer: number, dueMs: number): void {
    const records = lengthOf(piece);
    piece.state = 'out';
    piece.consumer = consumer;
    piece.dueMs = dueMs;
    piece.count++;
    piece.held.ready -= records;
    this.#out += records;
    this.#options.owners.take(piece.held, piece.first, piece.last, consumer);
  }

  #leave(piece: Segment): void {
    this.#out -= lengthOf(piece);
    this.#options.owners.drop(piece.held, piece.first, piece.last);
  }

  #comeBack(piece: Segment, readyMs: number): void {
    if (piece.count >= this.#options.maxDeliveries) return this.#giveUp(piece);
    this.#waits(piece);
    if (readyMs > 0) {
      piece.state = 'delayed';
      piece.dueMs = readyMs;
      return;
    }
    piece.state = 'ready';
    piece.held.ready += lengthOf(piece);
  }

  #waits(piece: Segment): void {
    if (piece.first < this.#readyFrom) this.#readyFrom = piece.first;
  }

  #giveUp(piece: Segment): void {
    this.#waits(piece);
    piece.state = 'dead';
    this.#dead += lengthOf(piece);
  }

  #close(piece: Segment): void {
    const records = lengthOf(piece);
    piece.held.open -= records;
    this.#open -= records;
  }

  #remove(index: number): void {
    this.#segments.splice(index, 1);
    this.#settledBefore(index);
  }

  #settledBefore(index: number): void {
    const next = this.#segments[index];
    if (next) next.behindSettled = true;
    else this.#tailSettled = this.#segments.length > 0;
  }

  /** Cuts ranges out of what is out to a consumer. `act` says whether a piece stays. Returns how many records there were. */
  #carve(ranges: readonly Range[], consumer: number, act: (piece: Segment) => boolean): number {
    const [lowest] = ranges;
    const highest = ranges.at(-1);
    if (!lowest || !highest) return 0;
    const begin = this.#after(lowest.first);
    const kept: Segment[] = [];
    let records = 0;
    let settledBefore = false;
    let range = 0;
    const keep = (piece: Segment): void => {
      if (settledBefore) piece.behindSettled = true;
      settledBefore = false;
      kept.push(piece);
    };
    let index = begin;
    for (; index < this.#segments.length; index++) {
      const segment = this.#segments[index] as Segment;
      if (segment.first > highest.last) break;
      if (segment.state !== 'out' || segment.consumer !== consumer) {
        keep(segment);
        continue;
      }
      while ((ranges[range]?.last ?? Number.POSITIVE_INFINITY) < segment.first) range++;
      let at = segment.first;
      for (let i = range; i < ranges.length; i++) {
        const { first, last } = ranges[i] as Range;
        if (first > segment.last) break;
        const from = Math.max(at, first);
        const to = Math.min(segment.last, last);
        if (from > at) keep(part(segment, at, from - 1));
        const piece = part(segment, from, to);
        records += lengthOf(piece);
        if (act(piece)) keep(piece);
        else settledBefore = true;
        at = to + 1;
      }
      if (at <= segment.last) keep(at === segment.first ? segment : part(segment, at, segment.last));
    }
    if (records === 0) return 0;
    this.#replace(begin, index, kept);
    if (settledBefore) this.#settledBefore(begin + kept.length);
    return records;
  }

  #replace(from: number, to: number, pieces: readonly Segment[]): void {
    const [only] = pieces;
    if (pieces.length === 1 && only && to - from === 1) this.#segments[from] = only;
    else if (pieces.length < 1_000) this.#segments.splice(from, to - from, ...pieces);
    else this.#segments = this.#segments.slice(0, from).concat(pieces, this.#segments.slice(to));
  }

  /** The place of the first segment that ends at an offset or behind it. */
  #after(offset: number): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#segments[middle] as Segment).last < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

interface Share {
  readonly piece: Segment;
  readonly taker: Taker | undefined;
}

/** A part of a segment; the segment itself when that is all of it. Its first part keeps what stood before it. */
function part(segment: Segment, first: number, last: number): Segment {
  if (first === segment.first && last === segment.last) return segment;
  return { ...segment, first, last, behindSettled: segment.behindSettled && first === segment.first };
}

function block({ held, first, last }: Segment, blocked: Set<number>): void {
  if (!held.keys) return;
  for (let offset = first; offset <= last; offset++) {
    const key = held.keys[offset - held.entry.offset] ?? 0;
    if (key !== 0) blocked.add(key);
  }
}
