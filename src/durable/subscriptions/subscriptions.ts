import { FedgateError } from '../../errors.js';
import type { Pattern } from '../../messaging/address.js';
import { PatternIndex } from '../../messaging/pattern.js';
import { key, prefixed } from '../../store/keys.js';
import { Change } from '../../store/store.js';
import type { LogEntry } from '../types.js';
import { ConsumedHere } from './consumed-here.js';
import type { Consumer, ConsumerSink, NackTerms } from './consumer.js';
import { DEFAULT_LIMITS, type Redriven, type Shared, type SubscriptionParts, ToldEntries } from './parts.js';
import { beginningAt } from './position.js';
import { lengthOf, normalised, type Range, without } from './ranges.js';
import { type Definition, decodeRow, encodeRow, SUBSCRIPTION } from './row.js';
import { DEFAULT_ACK_WAIT_MS, DEFAULT_MAX_DELIVERIES, type Place, unavailable, type Wanted } from './spec.js';
import { Subscription } from './subscription.js';

/** A durable subscription as its operator sees it. */
export interface SubscriptionStatus {
  readonly definition: Definition;
  readonly offset: number;
  readonly backlog: number;
  readonly pending: number;
  readonly acknowledged: number;
  readonly redelivered: number;
  readonly consumers: readonly string[];
  readonly end: number;
}

export interface Attached {
  readonly consumer: Consumer;
  /** The lowest offset that is not settled. */
  readonly offset: number;
  readonly created: boolean;
}

export type SubscriptionsOptions = Omit<SubscriptionParts, 'limits' | 'ticks' | 'onEvent'> &
  Partial<Pick<SubscriptionParts, 'limits' | 'ticks' | 'onEvent'>>;

/** Records of a backlog are counted up to this. */
export const MAX_COUNTED = 1_000_000;
const ROWS_A_SCAN = 1_000;
const ENTRIES_A_READ = 1_024;
const CACHED_CHANNELS = 10_000;

/** The durable subscriptions of an organisation. */
export class Subscriptions {
  readonly #shared: Shared;
  readonly #all = new Map<string, Subscription>();
  /** Those that are being made, moved or deleted: one after the other for each name. */
  readonly #busy = new Map<string, Promise<unknown>>();
  readonly #index = new PatternIndex<Subscription>();
  readonly #cache = new Map<string, readonly Subscription[]>();
  /** What a node took with a call that is over is out to a consumer of its own. */
  readonly #pullers = new Map<string, number>();
  readonly #offAppended: () => void;
  #lastId = 0;
  #making = 0;
  #closed = false;

  private constructor(shared: Shared) {
    this.#shared = shared;
    this.#offAppended = shared.log.onAppended(entry => this.#appended(entry));
  }

  /** Reads all rows and holds the log for them. Rejects with STORE_*. */
  static async open(options: SubscriptionsOptions): Promise<Subscriptions> {
    const told = new ToldEntries();
    const subscriptions = new Subscriptions({
      ticks: () => performance.now(),
      onEvent: () => undefined,
      limits: DEFAULT_LIMITS,
      ...options,
      ahead: { bytes: 0 },
      told,
      here: new ConsumedHere(offset => told.has(offset)),
    });
    await subscriptions.#load();
    return subscriptions;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Whether any subscription wants what is published on a channel. */
  wants(channel: string): boolean {
    return this.#matching(channel).length > 0;
  }

  /**
   * Resolves when a subscription acknowledged records that were published in the own organisation, from this offset on. Rejects with
   * DEAD_LETTERED, or the signal's reason.
   */
  consumedHere(offset: number, count: number, signal: AbortSignal): Promise<void> {
    return this.#shared.here.wait(offset, count, signal);
  }

  get definitions(): readonly Definition[] {
    return [...this.#all.values()].map(({ definition }) => definition).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws SUBSCRIPTION_UNKNOWN. */
  definition(name: string): Definition {
    return this.#find(name).definition;
  }

  /**
   * Consumes a subscription, and makes it if it is not there. `check` judges its pattern, and throws.
   *
   * Rejects with SUBSCRIPTION_UNKNOWN (not there, and no pattern given), SUBSCRIPTION_MISMATCH, SUBSCRIPTION_BUSY, POSITION_UNAVAILABLE,
   * LIMIT_REACHED, STORE_*, and with what `check` throws.
   */
  async consume(
    wanted: Wanted,
    node: string,
    sink: ConsumerSink,
    check: (pattern: Pattern) => void | Promise<void>,
  ): Promise<Attached> {
    const { subscription, created } = await this.#ensure(wanted, check);
    const offset = await subscription.settledFloor();
    const consumer = subscription.attach(++this.#lastId, node, sink);
    return { consumer, offset, created };
  }

  /** As `consume`, for a call whose records are acknowledged by another one. */
  async pull(
    wanted: Wanted,
    node: string,
    sink: ConsumerSink,
    check: (pattern: Pattern) => void | Promise<void>,
  ): Promise<Attached> {
    const { subscription, created } = await this.#ensure(wanted, check);
    const offset = await subscription.settledFloor();
    const consumer = subscription.attach(this.#puller(node), node, sink, true);
    return { consumer, offset, created };
  }

  /** Settles what a node pulled. Resolves with how many records there were. Rejects with SUBSCRIPTION_UNKNOWN, STORE_*. */
  async acknowledge(
    name: string,
    node: string,
    acks: readonly Range[],
    nacks: readonly Range[],
    terms: NackTerms,
  ): Promise<number> {
    return this.#find(name).acknowledge(this.#puller(node), normalised(acks), normalised(nacks), terms);
  }

  /** Rejects with SUBSCRIPTION_UNKNOWN. */
  async status(name: string): Promise<SubscriptionStatus> {
    const subscription = this.#find(name);
    const { definition, facts, floor } = subscription;
    const { pending, acknowledged, redelivered, consumers } = facts;
    const backlog = await this.#backlog(subscription);
    return {
      definition,
      offset: floor,
      backlog,
      pending,
      acknowledged,
      redelivered,
      consumers,
      end: this.#shared.log.end,
    };
  }

  /** Its consumers' streams end with SUBSCRIPTION_UNKNOWN. Rejects with SUBSCRIPTION_UNKNOWN, STORE_*. */
  delete(name: string): Promise<void> {
    return this.#serial(name, async () => {
      const subscription = this.#find(name);
      const { store, log, deadLetters, onEvent } = this.#shared;
      const { floor } = subscription;
      await subscription.remove(unknown(name), () => store.commit(new Change().remove(SUBSCRIPTION, key(name))));
      this.#all.delete(name);
      this.#index.remove(subscription.definition.pattern, subscription);
      this.#cache.clear();
      log.release(name);
      await deadLetters.orphans(other => this.#all.has(other));
      onEvent({ kind: 'deleted', name, offset: floor });
    });
  }

  /** Its consumers' streams end with SUBSCRIPTION_MOVED. Rejects with SUBSCRIPTION_UNKNOWN, POSITION_UNAVAILABLE, STORE_*. */
  seek(name: string, place: Place): Promise<void> {
    return this.#serial(name, async () => {
      const subscription = this.#find(name);
      const { store, log, onEvent } = this.#shared;
      const { pattern } = subscription.definition;
      const offset = await this.#offsetOf(place);
      // Held from now on, so that nothing of it is trimmed before the new place is on stable storage.
      log.hold(name, pattern, Math.min(offset, subscription.floor));
      await subscription.seek(offset, row => store.commit(new Change().put(SUBSCRIPTION, key(name), row)));
      onEvent({ kind: 'moved', name, offset });
    });
  }

  /** A dead letter is to be delivered again. False: its subscription is gone, or does so already with another of that place. */
  redrive(letter: Redriven): boolean {
    return this.#all.get(letter.subscription)?.redrive(letter) ?? false;
  }

  /** Ends every consumer's stream. Resolves when nothing is stored any more. */
  async close(error: FedgateError): Promise<void> {
    this.#closed = true;
    this.#offAppended();
    await Promise.allSettled(this.#busy.values());
    await Promise.all([...this.#all.values()].map(subscription => subscription.close(error)));
  }

  async #load(): Promise<void> {
    const { store, log, deadLetters } = this.#shared;
    let from: Buffer | undefined;
    for (;;) {
      const rows = await store.scan(SUBSCRIPTION, { limit: ROWS_A_SCAN, ...(from ? { from } : {}) });
      for (const { key: rowKey, value } of rows) {
        const name = rowKey.toString('utf8', 0, rowKey.length - 1);
        const decoded = decodeRow(name, value);
        const subscription = this.#add(value, decoded);
        log.hold(name, decoded.definition.pattern, decoded.state.floor);
        for (const letter of await deadLetters.redriven(name)) subscription.redrive(letter);
      }
      const last = rows.at(-1);
      if (!last || rows.length < ROWS_A_SCAN) break;
      from = prefixed(last.key).to;
    }
    await deadLetters.orphans(name => this.#all.has(name));
  }

  #add(row: Buffer, decoded: ReturnType<typeof decodeRow>): Subscription {
    const subscription = new Subscription(row, decoded, this.#shared);
    this.#all.set(decoded.definition.name, subscription);
    this.#index.add(decoded.definition.pattern, subscription);
    this.#cache.clear();
    return subscription;
  }

  #find(name: string): Subscription {
    const subscription = this.#all.get(name);
    if (!subscription) throw unknown(name);
    return subscription;
  }

  async #ensure(
    wanted: Wanted,
    check: (pattern: Pattern) => void | Promise<void>,
  ): Promise<{ readonly subscription: Subscription; readonly created: boolean }> {
    // Judged before anything is said about what there is.
    if (wanted.pattern) await check(wanted.pattern);
    return this.#serial(wanted.name, async () => {
      const existing = this.#all.get(wanted.name);
      if (!existing) return { subscription: await this.#create(wanted), created: true };
      const { definition } = existing;
      await check(definition.pattern);
      checkSame(definition, wanted);
      const { ackWaitMs = definition.ackWaitMs, maxDeliveries = definition.maxDeliveries } = wanted;
      await existing.adjust(ackWaitMs, maxDeliveries);
      return { subscription: existing, created: false };
    });
  }

  async #create(wanted: Wanted): Promise<Subscription> {
    const { name, pattern, group } = wanted;
    const { store, log, limits, now, onEvent } = this.#shared;
    if (!pattern) throw unknown(name);
    if (this.#all.size + this.#making >= limits.subscriptions) {
      throw new FedgateError('LIMIT_REACHED', `there are ${this.#all.size} durable subscriptions`, {
        metadata: { limit: 'durable subscriptions' },
      });
    }
    this.#making++;
    try {
      const offset = await this.#offsetOf(wanted.from);
      const definition: Definition = {
        name,
        pattern,
        group,
        createMs: now(),
        ackWaitMs: wanted.ackWaitMs ?? DEFAULT_ACK_WAIT_MS,
        maxDeliveries: wanted.maxDeliveries ?? DEFAULT_MAX_DELIVERIES,
      };
      const row = encodeRow(definition, beginningAt(offset), 0);
      log.hold(name, pattern, offset);
      await store.commit(new Change().put(SUBSCRIPTION, key(name), row));
      onEvent({ kind: 'created', name, offset });
      return this.#add(row, decodeRow(name, row));
    } catch (error) {
      log.release(name);
      throw error;
    } finally {
      this.#making--;
    }
  }

  /** Throws POSITION_UNAVAILABLE. */
  async #offsetOf(place: Place): Promise<number> {
    const { log } = this.#shared;
    if (place.kind === 'earliest') return log.first;
    if (place.kind === 'latest') return log.end;
    if (place.kind === 'time') return log.offsetAt(place.timeMs);
    if (place.offset < log.first || place.offset > log.end) throw unavailable(place.offset, log);
    return place.offset;
  }

  async #backlog(subscription: Subscription): Promise<number> {
    const { log } = this.#shared;
    const { state, definition } = subscription;
    let records = subscription.facts.open;
    for (let from = subscription.facts.next; from < log.end && records < MAX_COUNTED; ) {
      const { entries, next } = await log.read(from, definition.pattern, ENTRIES_A_READ);
      for (const { offset, count } of entries) {
        const at = Math.max(offset, from);
        for (const range of without(at, offset + count - 1, state.settled)) records += lengthOf(range);
      }
      if (next <= from) break;
      from = next;
    }
    return Math.min(records, MAX_COUNTED);
  }

  #puller(node: string): number {
    let id = this.#pullers.get(node);
    if (id === undefined) {
      // Nodes are as many as the organisation has certificates for. Their ids are below those of streams.
      id = -1 - this.#pullers.size;
      this.#pullers.set(node, id);
    }
    return id;
  }

  #appended(entry: LogEntry): void {
    // A gap of which the channel is not known concerns everybody.
    const targets = entry.channel === '' ? this.#all.values() : this.#matching(entry.channel);
    for (const subscription of targets) subscription.pump();
  }

  #matching(channel: string): readonly Subscription[] {
    const known = this.#cache.get(channel);
    if (known) return known;
    const found = [...this.#index.match(channel)];
    if (this.#cache.size >= CACHED_CHANNELS) this.#cache.clear();
    this.#cache.set(channel, found);
    return found;
  }

  /** One after the other for a name. */
  async #serial<T>(name: string, work: () => Promise<T>): Promise<T> {
    while (this.#busy.has(name)) await this.#busy.get(name)?.catch(() => undefined);
    if (this.#closed) throw new FedgateError('DRAINING', 'the gateway is about to stop');
    const running = work();
    this.#busy.set(name, running);
    try {
      return await running;
    } finally {
      this.#busy.delete(name);
    }
  }
}

const unknown = (name: string): FedgateError =>
  new FedgateError('SUBSCRIPTION_UNKNOWN', `there is no durable subscription ${name}`, {
    metadata: { subscription: name },
  });

/** A consumer that says nothing of the pattern says nothing of the kind either, unless it asks for a group. */
function checkSame({ name, pattern, group }: Definition, wanted: Wanted): void {
  const differs = (what: string, is: string): FedgateError =>
    new FedgateError('SUBSCRIPTION_MISMATCH', `${name} has another ${what}: ${is}`, {
      metadata: { subscription: name },
    });
  if (wanted.pattern && wanted.pattern.text !== pattern.text) throw differs('pattern', pattern.text);
  if (wanted.group !== group && (wanted.pattern || wanted.group))
    throw differs('kind', group ? 'it is a group' : 'it is no group');
}
