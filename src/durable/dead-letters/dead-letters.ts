import type { StreamNotice_DeadLettered as DeadLettered } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { sha256 } from '../../sha256.js';
import { key } from '../../store/keys.js';
import { Change, type Store } from '../../store/store.js';
import { recordStarts, sliceAt } from '../../wire/record-index.js';
import type { RecordBlock } from '../../wire/records.js';
import type { DeadLetterKeeper, GivenUp, Outcome, Redriven } from '../subscriptions/parts.js';
import type { DeadLetterSink, OutgoingRecords, SentBatch, StreamPosition } from '../types.js';
import {
  asRedriven,
  DEAD_LETTER,
  DEAD_LOG,
  decodeLetter,
  encodeLetter,
  type Letter,
  type Selection,
  selects,
} from './letter.js';
import { Tally } from './tally.js';

export interface DeadLetterLimits {
  readonly letters: number;
  readonly bytes: number;
  /** Letters that subscriptions deliver again at once: these are in memory. */
  readonly redriven: number;
}

/** 100 thousand letters are more than anybody reads; 256 MiB of records are what a disk can spare for what nobody wanted. */
export const DEFAULT_DEAD_LETTER_LIMITS: DeadLetterLimits = {
  letters: 100_000,
  bytes: 256 * 1024 * 1024,
  redriven: 10_000,
};

export type DeadLetterEvent =
  /** There were too many: the oldest are gone. */
  { readonly kind: 'dropped-oldest'; readonly letters: number } | { readonly kind: 'failed'; readonly error: unknown };

export interface DeadLettersOptions {
  readonly store: Store;
  readonly now: () => number;
  readonly limits?: DeadLetterLimits;
  /** The records of a batch that was sent, while the outbox keeps them. */
  readonly refetch: (org: OrgName, position: StreamPosition) => Promise<RecordBlock | undefined>;
  readonly onEvent?: (event: DeadLetterEvent) => void;
}

/** Where letters go that are tried again. */
export interface RedriveTargets {
  /** False: the subscription is gone, or has one of that place already. */
  readonly deliver: (letter: Redriven) => boolean;
  readonly send: (org: OrgName, records: OutgoingRecords) => Promise<unknown>;
}

/** Letters that one commit changes, and rows that one scan reads. */
const STEP = 256;
const ROWS_A_SCAN = 1_000;
/** The notice and what it is about are committed a moment later than the sink hears of it. */
const ADOPT_AFTER_MS = 100;
const ADOPT_TRIES = 20;

/** Records that were given up: those for subscriptions here, and those that other organisations did not want. */
export class DeadLetters implements DeadLetterKeeper, DeadLetterSink {
  readonly #options: DeadLettersOptions;
  readonly #store: Store;
  readonly #limits: DeadLetterLimits;
  readonly #tally = new Tally();
  /** Letters that their subscriptions deliver again. */
  readonly #redriven = new Map<number, Letter>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #nextId = 1;
  /** What changes many letters is done one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #trimming = false;
  #closed = false;

  private constructor(options: DeadLettersOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#limits = options.limits ?? DEFAULT_DEAD_LETTER_LIMITS;
  }

  /** Counts what there is. Rejects with STORE_*. */
  static async open(options: DeadLettersOptions): Promise<DeadLetters> {
    const letters = new DeadLetters(options);
    for await (const letter of letters.#all(0)) {
      letters.#nextId = letter.id + 1;
      if (letter.redriven) letters.#redriven.set(letter.id, letter);
      else letters.#tally.add(letter);
    }
    return letters;
  }

  get total(): number {
    return this.#tally.letters;
  }

  countOf(subscription: string): number {
    return this.#tally.of(subscription);
  }

  // ---- what is given up ---------------------------------------------------------------------------------------------------------

  add(change: Change, { entry, offset, record, ...rest }: GivenUp): Outcome {
    const { channel, senderNode, senderOrg, storedMs, expireMs, stream } = entry;
    return this.#put(change, record, {
      direction: 'incoming',
      org: senderOrg,
      channel,
      senderNode,
      subscription: rest.subscription,
      reason: rest.reason,
      deliveries: rest.deliveries,
      records: 1,
      offset,
      storedMs,
      expireMs,
      streamEpoch: stream?.epoch ?? 0n,
      sequence: stream?.sequence ?? 0,
      record: offset - entry.offset,
    });
  }

  refused(change: Change, batch: SentBatch, records: RecordBlock | undefined, error: FedgateError): void {
    this.#put(change, records, {
      ...ofBatch(batch.org, batch.channel, batch.senderNode, batch),
      subscription: '',
      reason: `${error.reason}: ${error.message}`,
      deliveries: 1,
      records: batch.recordCount,
      record: 0,
    });
  }

  gaveUp(change: Change, org: OrgName, notice: DeadLettered): void {
    const position = { epoch: notice.streamEpoch, sequence: Number(notice.sequence) };
    const id = this.#nextId;
    this.#put(change, undefined, {
      ...ofBatch(org, notice.channel, notice.senderNode, position),
      subscription: notice.subscription,
      reason: notice.reason,
      deliveries: notice.deliveries,
      records: 1,
      record: notice.record,
    });
    this.#later(() => this.#adopt(id, ADOPT_TRIES));
  }

  settled(change: Change, id: number): Outcome {
    const letter = this.#redriven.get(id);
    if (!letter) return () => undefined;
    change.remove(DEAD_LETTER, key(id));
    if (letter.body) change.release(letter.body);
    return committed => {
      if (committed) this.#redriven.delete(id);
    };
  }

  again(change: Change, id: number, reason: string, deliveries: number): Outcome {
    const letter = this.#redriven.get(id);
    if (!letter) return () => undefined;
    const again = { ...letter, reason, deliveries, redriven: false, timeMs: this.#options.now() };
    change.put(DEAD_LETTER, key(id), encodeLetter(again));
    return committed => {
      if (!committed) return;
      this.#redriven.delete(id);
      this.#tally.add(again);
    };
  }

  // ---- what is tried again ------------------------------------------------------------------------------------------------------

  async redriven(subscription: string): Promise<readonly Redriven[]> {
    return [...this.#redriven.values()].filter(letter => letter.subscription === subscription).map(asRedriven);
  }

  async records(id: number): Promise<RecordBlock | undefined> {
    const letter = this.#redriven.get(id);
    return letter && this.#read(letter);
  }

  /** Those that a subscription should have delivered again, and that is gone, are dead letters as before. Rejects with STORE_*. */
  orphans(exists: (subscription: string) => boolean): Promise<void> {
    return this.#serial(async () => {
      for (const letter of [...this.#redriven.values()]) {
        if (exists(letter.subscription)) continue;
        const again = { ...letter, redriven: false };
        await this.#write(again);
        this.#redriven.delete(letter.id);
        this.#tally.add(again);
      }
    });
  }

  // ---- what an operator does ----------------------------------------------------------------------------------------------------

  /** Letters with a higher id that match, by id, at most so many. */
  async list(selection: Omit<Selection, 'ids'>, afterId: number, limit: number): Promise<readonly Letter[]> {
    const found: Letter[] = [];
    for await (const letter of this.#all(afterId + 1)) {
      if (letter.redriven || !selects(selection, letter)) continue;
      found.push(letter);
      if (found.length >= limit) break;
    }
    return found;
  }

  /** Rejects with DEAD_LETTER_UNKNOWN. */
  async get(id: number): Promise<{ readonly letter: Letter; readonly records: RecordBlock | undefined }> {
    const letter = await this.#find(id);
    if (!letter) throw new FedgateError('DEAD_LETTER_UNKNOWN', `there is no dead letter ${id}`);
    return { letter, records: await this.#read(letter) };
  }

  /** Tries letters again. Those of which the records are gone, or the subscription, are skipped. Rejects with STORE_*. */
  redrive(
    selection: Selection,
    targets: RedriveTargets,
  ): Promise<{ readonly redriven: number; readonly skipped: number }> {
    return this.#serial(async () => {
      let redriven = 0;
      let skipped = 0;
      for await (const letter of this.#selected(selection)) {
        const done =
          letter.direction === 'outgoing'
            ? await this.#sendAgain(letter, targets)
            : await this.#deliverAgain(letter, targets);
        if (done) redriven++;
        else skipped++;
      }
      return { redriven, skipped };
    });
  }

  /** Forgets letters. Resolves with how many. Rejects with STORE_*. */
  drop(selection: Selection): Promise<number> {
    return this.#serial(async () => {
      let dropped = 0;
      let some: Letter[] = [];
      for await (const letter of this.#selected(selection)) {
        some.push(letter);
        if (some.length < STEP) continue;
        await this.#remove(some);
        dropped += some.length;
        some = [];
      }
      await this.#remove(some);
      return dropped + some.length;
    });
  }

  /** Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#last.catch(() => undefined);
  }

  // ---- inside -------------------------------------------------------------------------------------------------------------------

  #put(
    change: Change,
    records: RecordBlock | undefined,
    facts: Omit<Letter, 'id' | 'timeMs' | 'bytes' | 'body' | 'sha256' | 'redriven'>,
  ): Outcome {
    const id = this.#nextId++;
    const letter: Letter = {
      ...facts,
      ...this.#keep(change, records),
      id,
      timeMs: this.#options.now(),
      redriven: false,
    };
    change.put(DEAD_LETTER, key(id), encodeLetter(letter));
    this.#tally.add(letter);
    if (this.#tooMany) this.#later(() => this.#trim());
    return committed => {
      if (!committed) this.#tally.remove(letter);
    };
  }

  #keep(change: Change, records: RecordBlock | undefined): Pick<Letter, 'body' | 'sha256' | 'bytes'> {
    if (!records) return { body: undefined, sha256: Buffer.alloc(0), bytes: 0 };
    const { bytes } = records;
    const body = this.#store.reserve(DEAD_LOG, bytes.length);
    change.write(body, [bytes]);
    return { body, sha256: sha256(bytes), bytes: bytes.length };
  }

  async #read({ body, sha256, records }: Letter): Promise<RecordBlock | undefined> {
    if (!body) return undefined;
    try {
      return { bytes: await this.#store.read(body, sha256), count: records };
    } catch (error) {
      if ((error as FedgateError).reason === 'BODY_UNREADABLE') return undefined;
      throw error;
    }
  }

  async #deliverAgain(letter: Letter, { deliver }: RedriveTargets): Promise<boolean> {
    if (!letter.body || this.#redriven.size >= this.#limits.redriven) return false;
    const again = { ...letter, redriven: true };
    this.#redriven.set(letter.id, again);
    try {
      await this.#write(again);
    } catch (error) {
      this.#redriven.delete(letter.id);
      throw error;
    }
    this.#tally.remove(letter);
    if (deliver(asRedriven(again))) return true;
    this.#redriven.delete(letter.id);
    this.#tally.add(letter);
    await this.#write(letter);
    return false;
  }

  async #sendAgain(letter: Letter, { send }: RedriveTargets): Promise<boolean> {
    const records = await this.#read(letter);
    if (!records) return false;
    const { org, channel, senderNode, id } = letter;
    // Known by its number: one that was sent, and whose row then could not be removed, is not sent twice.
    const idempotency = { kind: 'id', id: `dead-letter ${this.#store.id.toString('hex')} ${id}` } as const;
    await send(org, { channel, senderNode, records, ttlMs: 0, notifyConsumed: false, idempotency });
    await this.#remove([letter]);
    return true;
  }

  #write(letter: Letter): Promise<void> {
    return this.#store.commit(new Change().put(DEAD_LETTER, key(letter.id), encodeLetter(letter)));
  }

  async #remove(letters: readonly Letter[]): Promise<void> {
    if (letters.length === 0) return;
    const change = new Change();
    for (const { id, body } of letters) {
      change.remove(DEAD_LETTER, key(id));
      if (body) change.release(body);
    }
    await this.#store.commit(change);
    for (const letter of letters) this.#tally.remove(letter);
  }

  /** Brings the record of a letter that other organisations gave up out of the outbox, before that lets go of it. */
  async #adopt(id: number, tries: number): Promise<void> {
    const letter = await this.#find(id);
    if (!letter) {
      if (tries > 0) this.#later(() => this.#adopt(id, tries - 1));
      return;
    }
    const block = await this.#options.refetch(letter.org, { epoch: letter.streamEpoch, sequence: letter.sequence });
    if (!block || letter.record >= block.count) return;
    const change = new Change();
    const record = sliceAt(block, recordStarts(block), letter.record, letter.record + 1);
    const adopted = { ...letter, ...this.#keep(change, record) };
    await this.#store.commit(change.put(DEAD_LETTER, key(id), encodeLetter(adopted)));
    this.#tally.remove(letter);
    this.#tally.add(adopted);
  }

  get #tooMany(): boolean {
    return this.#tally.letters > this.#limits.letters || this.#tally.bytes > this.#limits.bytes;
  }

  /** Forgets the oldest while there are too many. */
  async #trim(): Promise<void> {
    if (this.#trimming) return;
    this.#trimming = true;
    try {
      let dropped = 0;
      while (this.#tooMany && !this.#closed) {
        const oldest: Letter[] = [];
        let letters = this.#tally.letters - this.#limits.letters;
        let bytes = this.#tally.bytes - this.#limits.bytes;
        for await (const letter of this.#all(0)) {
          if (oldest.length >= STEP || (letters <= 0 && bytes <= 0)) break;
          if (letter.redriven) continue;
          oldest.push(letter);
          letters--;
          bytes -= letter.bytes;
        }
        if (oldest.length === 0) break;
        await this.#remove(oldest);
        dropped += oldest.length;
      }
      if (dropped > 0) this.#options.onEvent?.({ kind: 'dropped-oldest', letters: dropped });
    } finally {
      this.#trimming = false;
    }
  }

  async #find(id: number): Promise<Letter | undefined> {
    const value = await this.#store.get(DEAD_LETTER, key(id));
    const letter = value && decodeLetter({ key: key(id), value });
    return letter?.redriven ? undefined : letter;
  }

  /** Letters from an id on. */
  async *#all(fromId: number): AsyncGenerator<Letter> {
    for (let from = fromId; ; ) {
      const rows = await this.#store.scan(DEAD_LETTER, { from: key(from), limit: ROWS_A_SCAN });
      for (const row of rows) {
        const letter = decodeLetter(row);
        from = letter.id + 1;
        yield letter;
      }
      if (rows.length < ROWS_A_SCAN) return;
    }
  }

  async *#selected(selection: Selection): AsyncGenerator<Letter> {
    // What comes meanwhile is another matter.
    const before = this.#nextId;
    if (selection.ids.length === 0) {
      for await (const letter of this.#all(0)) {
        if (letter.id >= before) return;
        if (!letter.redriven && selects(selection, letter)) yield letter;
      }
      return;
    }
    for (const id of new Set(selection.ids)) {
      const letter = await this.#find(id);
      if (letter) yield letter;
    }
  }

  #later(work: () => Promise<void>): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#serial(work).catch(error => this.#options.onEvent?.({ kind: 'failed', error }));
    }, ADOPT_AFTER_MS);
    this.#timers.add(timer);
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

const ofBatch = (
  org: OrgName,
  channel: string,
  senderNode: string,
  { epoch, sequence }: StreamPosition,
): Pick<
  Letter,
  'direction' | 'org' | 'channel' | 'senderNode' | 'offset' | 'storedMs' | 'expireMs' | 'streamEpoch' | 'sequence'
> => ({
  direction: 'outgoing',
  org,
  channel,
  senderNode,
  offset: 0,
  storedMs: 0,
  expireMs: 0,
  streamEpoch: epoch,
  sequence,
});
