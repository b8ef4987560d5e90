import { FedgateError } from '../../errors.js';
import type { Change } from '../../store/store.js';
import { encodePlaced } from '../../wire/messaging-frames.js';
import type { LogEntry } from '../types.js';
import { Burial } from './burial.js';
import { Committer } from './committer.js';
import { busy, Consumer, type ConsumerHost, type ConsumerSink, type NackTerms, takenOver } from './consumer.js';
import { Cursor } from './cursor.js';
import { Held } from './held.js';
import { KeyOwners } from './key-owners.js';
import { Ledger, type LedgerOptions, type Segment, type Taker } from './ledger.js';
import { Loaded } from './loaded.js';
import { missingFrame } from './notices.js';
import type { Redriven, Shared } from './parts.js';
import { beginningAt, type CursorState } from './position.js';
import { lengthOf, type Range } from './ranges.js';
import { type DecodedRow, type Definition, decodeRow, encodeRow } from './row.js';
import { Supply } from './supply.js';
import { Timer } from './timer.js';

/**
 * That something was delivered is stored by itself after this time, milliseconds, unless an acknowledgement took it along: long enough
 * that it mostly does, and short enough that little is delivered again unmarked after a crash.
 */
const MARK_AFTER_MS = 100;

/** A durable subscription: a cursor, those who consume it, and the way between log, store and them. */
export class Subscription {
  readonly #shared: Shared;
  readonly #consumers = new Map<number, Consumer>();
  readonly #loaded: Loaded;
  readonly #committer: Committer;
  readonly #supply: Supply;
  readonly #burial: Burial;
  readonly #timer: Timer;
  readonly #closed = new AbortController();
  readonly #host: ConsumerHost;
  readonly #letters = new Map<number, Redriven>();
  #definition: Definition;
  #options: LedgerOptions;
  #cursor: Cursor;
  #redriven: Ledger;
  #acknowledged: number;
  #redelivered = 0;
  #markAt = Number.POSITIVE_INFINITY;
  #pumping = false;
  #pumpAgain = false;
  #moving = false;

  constructor(row: Buffer, { definition, state, acknowledged }: DecodedRow, shared: Shared) {
    this.#shared = shared;
    this.#definition = definition;
    this.#acknowledged = acknowledged;
    this.#loaded = new Loaded(shared.limits, shared.ahead);
    this.#options = this.#newOptions();
    this.#cursor = new Cursor(state, this.#options);
    this.#redriven = new Ledger(this.#options);
    this.#timer = new Timer(shared.ticks, () => this.#tick());
    this.#committer = new Committer(row, {
      shared,
      definition: () => this.#definition,
      state: () => this.#cursor.state(),
      acknowledged: () => this.#acknowledged,
      failed: error => this.#fail(error),
    });
    this.#supply = new Supply({
      parts: shared,
      pattern: definition.pattern,
      group: definition.group,
      loaded: this.#loaded,
      cursor: () => this.#cursor,
      wanted: () => !this.#moving && this.#anyRoom(),
      supplied: () => this.pump(),
      idle: () => this.#idle(),
      failed: error => this.#unreadable(error),
      signal: this.#closed.signal,
    });
    this.#burial = new Burial({
      shared,
      name: definition.name,
      loaded: this.#loaded,
      committer: this.#committer,
      ledgers: () => [this.#cursor.ledger, this.#redriven],
      read: held => this.#supply.read(held),
      tell: frame => this.#tell(frame),
      buried: id => this.#letters.delete(id),
      failed: error => this.#unreadable(error),
    });
    this.#host = {
      pump: () => this.pump(),
      acknowledge: (consumer, ranges, ackId) => this.#acknowledge(consumer, ranges, ackId),
      giveBack: (consumer, ranges, terms) => this.#giveBack(consumer, ranges, terms),
      extend: (consumer, ranges) => this.#extend(consumer, ranges),
      flush: () => this.#committer.flush(),
      detach: (consumer, keepOut) => this.#detach(consumer, keepOut),
    };
  }

  get definition(): Definition {
    return this.#definition;
  }

  /** The lowest offset that is not settled. */
  get floor(): number {
    return this.#cursor.floor;
  }

  /**
   * The floor, once all that is before it is settled on stable storage: whoever is told of it takes its acknowledgements before it for
   * settled. In a group they may be those of another consumer, of a moment ago. Rejects with STORE_*.
   */
  async settledFloor(): Promise<number> {
    const { floor } = this;
    await this.#committer.flush();
    return floor;
  }

  get facts() {
    const { ledger } = this.#cursor;
    return {
      pending: ledger.out + this.#redriven.out,
      open: ledger.open,
      next: this.#cursor.next,
      acknowledged: this.#acknowledged,
      redelivered: this.#redelivered,
      consumers: [...new Set([...this.#consumers.values()].map(({ node }) => node))].sort(),
    };
  }

  /** The state as it would be stored now. */
  get state(): CursorState {
    return this.#cursor.state();
  }

  /** Begins to deliver to a consumer. Throws SUBSCRIPTION_BUSY, LIMIT_REACHED; UNAVAILABLE while it is moved. */
  attach(id: number, node: string, sink: ConsumerSink, keepOut = false): Consumer {
    const { name, group } = this.#definition;
    if (this.#moving) throw moved(name);
    if (!group) this.#takeOver(node);
    if (this.#consumers.size >= this.#shared.limits.consumers) {
      throw new FedgateError('LIMIT_REACHED', `${this.#consumers.size} consumers have ${name}`, {
        metadata: { limit: 'consumers of a subscription' },
      });
    }
    this.#consumers.get(id)?.end(takenOver(name));
    const consumer = new Consumer({ id, node, sink, keepOut, host: this.#host });
    this.#consumers.set(id, consumer);
    return consumer;
  }

  /** Settles or gives back what a call that is over took. Returns how many records there were, once that is on stable storage. */
  async acknowledge(id: number, acks: readonly Range[], nacks: readonly Range[], terms: NackTerms): Promise<number> {
    const records = this.#settle(id, acks) + this.#return(id, nacks, terms);
    if (records === 0) return 0;
    this.#committer.store();
    this.#after();
    await this.#committer.flush();
    return records;
  }

  /** Delivers what can be delivered now, and sees to it that more comes. */
  pump(): void {
    if (this.#pumping) {
      this.#pumpAgain = true;
      return;
    }
    this.#pumping = true;
    try {
      do {
        this.#pumpAgain = false;
        this.#deliverAll();
      } while (this.#pumpAgain);
    } finally {
      this.#pumping = false;
    }
    if (this.#consumers.size > 0) this.#supply.fill();
    this.#idle();
  }

  /** A dead letter is to be delivered again. False: another one of that place already is. */
  redrive(letter: Redriven): boolean {
    const { offset } = letter.entry;
    const taken = [...this.#letters.values()].some(({ entry }) => entry.offset === offset);
    if (taken) return false;
    this.#letters.set(letter.id, letter);
    this.#addRedriven(letter);
    this.pump();
    return true;
  }

  /** Changes ack wait and deliveries. Resolves when that is on stable storage. */
  async adjust(ackWaitMs: number, maxDeliveries: number): Promise<void> {
    const { definition } = this;
    if (definition.ackWaitMs === ackWaitMs && definition.maxDeliveries === maxDeliveries) return;
    this.#definition = { ...definition, ackWaitMs, maxDeliveries };
    this.#options.maxDeliveries = maxDeliveries;
    this.#committer.store();
    await this.#committer.flush();
  }

  /** Goes to another place. Its consumers' streams end. Rejects with STORE_*, and is then where it was. */
  seek(offset: number, commit: (row: Buffer) => Promise<void>): Promise<void> {
    const row = encodeRow(this.#definition, beginningAt(offset), this.#acknowledged);
    return this.#standStill(moved(this.#definition.name), async () => {
      await commit(row);
      this.#reset(row);
    });
  }

  /** Is no more. Its consumers' streams end. Rejects with STORE_*, and then goes on. */
  async remove(why: FedgateError, commit: () => Promise<void>): Promise<void> {
    await this.#standStill(why, commit);
    await this.close(why);
  }

  /** Ends its consumers, and stores nothing more. */
  async close(error: FedgateError): Promise<void> {
    this.#moving = true;
    this.#endAll(error);
    this.#closed.abort(error);
    this.#timer.stop();
    await this.#committer.stop(error);
    this.#loaded.clear();
  }

  /** Does something while nobody consumes and nothing is stored. */
  async #standStill(why: FedgateError, work: () => Promise<void>): Promise<void> {
    this.#moving = true;
    try {
      this.#endAll(why);
      await this.#committer.stop(why);
      await work();
    } catch (error) {
      this.#reset(this.#committer.row);
      throw error;
    } finally {
      this.#moving = false;
    }
  }

  #takeOver(node: string): void {
    for (const consumer of [...this.#consumers.values()]) {
      // One that is about to leave has all it needs; its place is free.
      if (consumer.leaving) consumer.close();
      else if (consumer.node === node) consumer.end(takenOver(this.#definition.name));
      else throw busy(this.#definition.name, consumer.node);
    }
  }

  #idle(): void {
    if (this.#supply.busy) return;
    for (const consumer of [...this.#consumers.values()]) consumer.idle();
  }

  #anyRoom(): boolean {
    for (const consumer of this.#consumers.values()) if (consumer.room > 0) return true;
    return false;
  }

  #deliverAll(): void {
    if (this.#moving) return;
    const takers: Taker[] = [];
    for (const { id, room } of this.#consumers.values()) if (room > 0) takers.push({ id, room });
    if (takers.length === 0) return;
    const dueMs = this.#shared.ticks() + this.#definition.ackWaitMs;
    const before = this.#cursor.ledger.out + this.#redriven.out;
    for (const ledger of [this.#redriven, this.#cursor.ledger]) {
      const missing = ledger.assign(
        takers,
        dueMs,
        (taker, piece) => this.#deliver(taker, piece),
        (taker, piece) => this.#pass(taker, piece),
      );
      if (missing) this.#supply.load(missing);
    }
    if (this.#cursor.ledger.out + this.#redriven.out > before) this.#timer.wake(dueMs);
  }

  #deliver(taker: Taker, piece: Segment): void {
    const consumer = this.#consumers.get(taker.id);
    const { held, first, last, count } = piece;
    const { channel, senderOrg, senderNode, storedMs } = held.entry;
    const records = held.slice(first, last);
    if (held.ready === 0) this.#loaded.unload(held);
    if (!consumer) return;
    consumer.spend(records.count);
    consumer.sink.put(
      encodePlaced({ channel, senderOrg, senderNode, offset: first, deliveryCount: count, storedMs }, records),
    );
    if (!consumer.sink.writable) taker.room = 0;
    if (count > 1) this.#redelivered += records.count;
    this.#mark();
  }

  /** Entries that have nothing to deliver: the consumer is told, and they are passed. */
  #pass(taker: Taker, piece: Segment): boolean {
    const { held } = piece;
    const { gap, expireMs } = held.entry;
    const expired = gap ? gap.kind === 'expired' : expireMs > 0 && expireMs <= this.#shared.now();
    if (!gap && !expired && held.lost === undefined) return false;
    held.spoiled = true;
    if (held.ready === lengthOf(piece)) this.#loaded.unload(held);
    const sink = this.#consumers.get(taker.id)?.sink;
    sink?.put(missingFrame(held, piece, expired));
    if (!sink?.writable) taker.room = 0;
    this.#forget(held);
    this.#mark();
    return true;
  }

  #acknowledge(consumer: Consumer, ranges: readonly Range[], ackId: bigint): void {
    const records = this.#settle(consumer.id, ranges);
    this.#confirm(consumer, ackId, records);
  }

  #giveBack(consumer: Consumer, ranges: readonly Range[], terms: NackTerms): void {
    const records = this.#return(consumer.id, ranges, terms);
    this.#confirm(consumer, terms.ackId, records);
  }

  /** Confirms once that is stored. What changed nothing is as good as stored, but for what is stored at this moment. */
  #confirm(consumer: Consumer, ackId: bigint, records: number): void {
    if (records > 0 || ackId !== 0n) this.#committer.store(() => ok => void (ok && consumer.settled(ackId)));
    else consumer.settled(ackId);
    if (records > 0) this.#after();
  }

  #settle(id: number, ranges: readonly Range[]): number {
    if (this.#moving) return 0;
    const settled = (piece: Segment): void => this.#settledPiece(piece);
    const records = this.#cursor.ledger.settle(id, ranges, settled) + this.#redriven.settle(id, ranges, settled);
    this.#acknowledged += records;
    return records;
  }

  #settledPiece({ held }: Segment): void {
    if (held.open > 0) return;
    this.#loaded.unload(held);
    this.#forget(held);
    const { notifyConsumed, offset, count } = held.entry;
    if (held.deadLetter !== undefined || held.spoiled || !notifyConsumed) return;
    const { told, here } = this.#shared;
    this.#committer.store(change => {
      if (!told.claim(offset)) return () => undefined;
      this.#tellSender(change, held.entry);
      return committed => {
        if (committed) here.consumed(offset, count);
        else told.release(offset);
      };
    });
  }

  /** Nodes of the own organisation are told by `here`. */
  #tellSender(change: Change, { stream, senderOrg }: LogEntry): void {
    if (!stream) return;
    const subscription = this.#definition.name;
    const value = { streamEpoch: stream.epoch, sequence: BigInt(stream.sequence), subscription };
    this.#shared.notify(change, senderOrg, { event: { $case: 'consumed', value } });
  }

  /** A redriven dead letter is done with. */
  #forget({ deadLetter }: Held): void {
    if (deadLetter === undefined) return;
    const letter = this.#letters.get(deadLetter);
    this.#committer.store(change => {
      const outcome = this.#shared.deadLetters.settled(change, deadLetter);
      return committed => {
        if (committed && this.#letters.get(deadLetter) === letter) this.#letters.delete(deadLetter);
        outcome(committed);
      };
    });
  }

  #return(id: number, ranges: readonly Range[], { delayMs, reason, deadLetter }: NackTerms): number {
    if (this.#moving) return 0;
    const readyMs = delayMs > 0 ? this.#shared.ticks() + delayMs : 0;
    let records = 0;
    for (const ledger of [this.#cursor.ledger, this.#redriven])
      records += ledger.giveBack(id, ranges, readyMs, reason, deadLetter);
    if (records > 0 && readyMs > 0) this.#timer.wake(readyMs);
    return records;
  }

  #extend(consumer: Consumer, ranges: readonly Range[]): void {
    const dueMs = this.#shared.ticks() + this.#definition.ackWaitMs;
    this.#cursor.ledger.extend(consumer.id, ranges, dueMs);
    this.#redriven.extend(consumer.id, ranges, dueMs);
  }

  #detach(consumer: Consumer, keepOut: boolean): void {
    if (this.#consumers.get(consumer.id) === consumer) this.#consumers.delete(consumer.id);
    if (this.#consumers.size === 0) this.#loaded.clear();
    if (keepOut || this.#moving) return;
    this.#cursor.ledger.abandon(consumer.id);
    this.#redriven.abandon(consumer.id);
    this.#after();
  }

  /** Something came back or was settled. */
  #after(): void {
    this.#burial.run();
    this.pump();
  }

  #tick(): void {
    const nowMs = this.#shared.ticks();
    if (nowMs >= this.#markAt) {
      this.#markAt = Number.POSITIVE_INFINITY;
      this.#committer.store();
    }
    const next = Math.min(this.#cursor.ledger.expire(nowMs), this.#redriven.expire(nowMs), this.#markAt);
    this.#timer.wake(next);
    this.#after();
  }

  /** Something was delivered: that is to be stored soon. */
  #mark(): void {
    if (this.#markAt !== Number.POSITIVE_INFINITY) return;
    this.#markAt = this.#shared.ticks() + MARK_AFTER_MS;
    this.#timer.wake(this.#markAt);
  }

  #tell(frame: Buffer): void {
    for (const { sink } of this.#consumers.values()) if (sink.writable) sink.put(frame);
  }

  /** A commit failed: what was acknowledged since the last one was not. */
  #fail(error: unknown): void {
    // Nothing comes back to others now: what they would get is not what is committed.
    const moving = this.#moving;
    this.#moving = true;
    this.#failed(error, 'storing the position failed');
    this.#moving = moving;
    this.#reset(this.#committer.row);
  }

  /** The log could not be read. What was delivered stays what it is. */
  #unreadable(error: unknown): void {
    this.#failed(error, 'reading the log failed');
  }

  #failed(error: unknown, what: string): void {
    this.#shared.onEvent({ kind: 'failed', name: this.#definition.name, error });
    const known = error instanceof FedgateError ? error : new FedgateError('STORE_FAILED', what, { cause: error });
    this.#endAll(known);
  }

  #endAll(error: FedgateError): void {
    for (const consumer of [...this.#consumers.values()]) consumer.end(error);
  }

  /** Back to what is committed. */
  #reset(row: Buffer): void {
    const { definition, state, acknowledged } = decodeRow(this.#definition.name, row);
    this.#loaded.clear();
    this.#definition = definition;
    this.#acknowledged = acknowledged;
    this.#markAt = Number.POSITIVE_INFINITY;
    this.#options = this.#newOptions();
    this.#cursor = new Cursor(state, this.#options);
    this.#redriven = new Ledger(this.#options);
    this.#committer.restart(row);
    for (const letter of this.#letters.values()) this.#addRedriven(letter);
    this.#shared.log.hold(definition.name, definition.pattern, state.floor);
  }

  #addRedriven(letter: Redriven): void {
    const { offset } = letter.entry;
    this.#redriven.add(offset, offset, new Held(letter.entry, letter.id), 0);
  }

  #newOptions(): LedgerOptions {
    return { owners: new KeyOwners(), maxDeliveries: this.#definition.maxDeliveries };
  }
}

export const moved = (name: string): FedgateError =>
  new FedgateError('SUBSCRIPTION_MOVED', `${name} was moved to another place`, { metadata: { subscription: name } });
