import type { Pattern } from '../../messaging/address.js';
import type { Channel, Channels } from './channels.js';
import { concerns, endOf, type HeldEntry } from './entry.js';
import type { Bounds, LogReader } from './reader.js';

export interface HoldLimits {
  /** Bytes that durable subscriptions have not passed, from one organisation and of one channel. */
  readonly bytesPerPeer: number;
  readonly bytesPerChannel: number;
  /** What one peer may have on the way at once. */
  readonly windowBytes: number;
}

interface Hold {
  readonly pattern: Pattern;
  /** What the subscription needs, and up to where the bytes were counted by that. */
  from: number;
  counted: number;
}

/** Entries that are counted between two turns of the event loop. */
const PAGE = 256;

/**
 * What durable subscriptions still need: the log trims none of it, and takes no more of a peer or a channel than the caps allow.
 *
 * An entry is held while any subscription that it concerns has not passed its end. Bytes are counted when an entry is numbered and when
 * a subscription passes it (or goes back before it): each entry is looked at once per subscription, by one walker, so that acknowledging
 * costs the same however many channels there are.
 */
export class Holds {
  readonly #limits: HoldLimits;
  readonly #channels: Channels;
  readonly #reader: LogReader;
  readonly #bounds: Bounds;
  readonly #holds = new Map<string, Hold>();
  /** Those whose subscription is gone; still to be counted out. */
  readonly #released = new Set<Hold>();
  readonly #heldOf = new Map<string, number>();
  /** Channels that leave less room than a window. */
  readonly #tight = new Set<Channel>();
  /** Which subscriptions there are, counted; and what of that each channel knows. */
  #version = 0;
  readonly #known = new WeakMap<Channel, { readonly version: number; readonly holds: readonly Hold[] }>();
  readonly #changed: () => void;
  readonly #problem: (error: unknown) => void;
  #walking: Promise<void> | undefined;
  #closed = false;

  constructor(options: {
    readonly limits: HoldLimits;
    readonly channels: Channels;
    readonly reader: LogReader;
    readonly bounds: Bounds;
    /** Called when there may be more room, or more to trim. */
    readonly changed: () => void;
    readonly problem: (error: unknown) => void;
  }) {
    this.#limits = options.limits;
    this.#channels = options.channels;
    this.#reader = options.reader;
    this.#bounds = options.bounds;
    this.#changed = options.changed;
    this.#problem = options.problem;
  }

  hold(name: string, pattern: Pattern, from: number): void {
    let hold = this.#holds.get(name);
    if (hold && hold.pattern.text !== pattern.text) {
      this.release(name);
      hold = undefined;
    }
    if (!hold) {
      hold = { pattern, from, counted: this.#bounds.end };
      this.#holds.set(name, hold);
      this.#version++;
    }
    hold.from = from;
    this.#walk();
  }

  release(name: string): void {
    const hold = this.#holds.get(name);
    if (!hold) return;
    this.#holds.delete(name);
    hold.from = Number.POSITIVE_INFINITY;
    this.#released.add(hold);
    this.#walk();
  }

  /** Nobody needs what of a channel ends here or before. */
  floor(channel: Channel): number {
    let floor = this.#bounds.end;
    for (const { from, counted } of this.#concerned(channel)) floor = Math.min(floor, from, counted);
    return floor;
  }

  /** Counts an entry that was just numbered. What is returned goes to `settle`. */
  count(channel: Channel, entry: HeldEntry): boolean {
    const held = this.#isHeld(channel, endOf(entry), undefined);
    if (held) this.#add(channel, entry.senderOrg, entry.bytes);
    return held;
  }

  /** The entry is on stable storage now, or never will be. */
  settle(channel: Channel, entry: HeldEntry, counted: boolean, stored: boolean): void {
    // Subscriptions may have come and gone meanwhile.
    const held = stored && this.#isHeld(channel, endOf(entry), undefined);
    if (held) this.#walk();
    if (held === counted) return;
    this.#add(channel, entry.senderOrg, held ? entry.bytes : -entry.bytes);
    if (!held) this.#changed();
  }

  room(org: string): number {
    const { bytesPerPeer, bytesPerChannel, windowBytes } = this.#limits;
    let room = Math.min(windowBytes, bytesPerChannel, bytesPerPeer - this.heldOf(org));
    for (const channel of this.#tight) if (channel.heldOf.has(org)) room = Math.min(room, this.#left(channel));
    return Math.max(0, room);
  }

  /** Whether so many bytes more of a channel would be over a cap. Where nothing is held anything fits, or what is large never would. */
  full(org: string, channel: Channel | undefined, bytes: number): boolean {
    const held = this.heldOf(org);
    if (held > 0 && held + bytes > this.#limits.bytesPerPeer) return true;
    return channel !== undefined && channel.held > 0 && bytes > this.#left(channel);
  }

  heldOf(org: string): number {
    return this.#heldOf.get(org) ?? 0;
  }

  /** Resolves when all bytes are counted that are to be at this moment. */
  async settled(): Promise<void> {
    while (this.#walking !== undefined) await this.#walking;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#walking;
  }

  /** The subscriptions that a channel concerns; looked for again only when there are others. */
  #concerned(channel: Channel): readonly Hold[] {
    let known = this.#known.get(channel);
    if (known?.version !== this.#version) {
      const all = [...this.#holds.values(), ...this.#released];
      known = { version: this.#version, holds: all.filter(({ pattern }) => concerns(pattern, channel.name)) };
      this.#known.set(channel, known);
    }
    return known.holds;
  }

  #isHeld(channel: Channel, end: number, except: Hold | undefined): boolean {
    return this.#concerned(channel).some(hold => hold !== except && hold.counted < end);
  }

  #walk(): void {
    if (this.#walking || this.#closed || !this.#next()) return;
    this.#walking = this.#walkAll()
      .catch(error => this.#problem(error))
      .finally(() => {
        this.#walking = undefined;
        this.#changed();
      });
  }

  /** A subscription whose bytes are not counted by where it is. */
  #next(): Hold | undefined {
    const { end } = this.#bounds;
    for (const hold of this.#released) {
      if (hold.counted < end) return hold;
      this.#released.delete(hold);
      this.#version++;
    }
    for (const hold of this.#holds.values()) if (Math.min(hold.from, end) !== hold.counted) return hold;
    return undefined;
  }

  async #walkAll(): Promise<void> {
    for (let hold = this.#next(); hold && !this.#closed; hold = this.#next()) {
      const target = Math.min(hold.from, this.#bounds.end);
      if (target >= hold.counted) await this.#pass(hold, target);
      else await this.#goBack(hold, target);
    }
  }

  async #pass(hold: Hold, target: number): Promise<void> {
    while (hold.counted < target) {
      const { entries, next } = await this.#reader.read(hold.counted, hold.pattern, PAGE);
      let done = Math.min(next, target);
      for (const entry of entries) {
        if (endOf(entry) > target) {
          done = target;
          break;
        }
        this.#count(entry, hold, -1);
      }
      hold.counted = done;
      this.#changed();
      await turn();
    }
  }

  /** Counted only when all of it is: entries between that come meanwhile are held by it already, as they end behind where it was. */
  async #goBack(hold: Hold, target: number): Promise<void> {
    const before = hold.counted;
    for (let from = target; from < before; ) {
      const { entries, next } = await this.#reader.read(from, hold.pattern, PAGE);
      for (const entry of entries) {
        if (endOf(entry) > before) break;
        if (endOf(entry) > target) this.#count(entry, hold, 1);
      }
      from = Math.max(next, from + 1);
      await turn();
    }
    hold.counted = target;
  }

  #count(entry: HeldEntry, hold: Hold, sign: 1 | -1): void {
    const channel = this.#channels.get(entry.channel);
    if (!channel || this.#isHeld(channel, endOf(entry), hold)) return;
    this.#add(channel, entry.senderOrg, sign * entry.bytes);
  }

  #add(channel: Channel, org: string, bytes: number): void {
    channel.held += bytes;
    bump(channel.heldOf, org, bytes);
    bump(this.#heldOf, org, bytes);
    if (channel.held > 0 && this.#left(channel) < this.#limits.windowBytes) this.#tight.add(channel);
    else this.#tight.delete(channel);
  }

  #left(channel: Channel): number {
    return this.#limits.bytesPerChannel - channel.held;
  }
}

function bump(map: Map<string, number>, name: string, by: number): void {
  const value = (map.get(name) ?? 0) + by;
  if (value > 0) map.set(name, value);
  else map.delete(name);
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));
