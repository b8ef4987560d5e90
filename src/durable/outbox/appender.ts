import { FedgateError } from '../../errors.js';
import { Fifo } from '../../fifo.js';
import { key } from '../../store/keys.js';
import { Change } from '../../store/store.js';
import type { Admission, Claim, Judgement } from '../idempotency.js';
import type { OutgoingRecords, Stored, StreamPosition } from '../types.js';
import type { CachedBatch } from './cache.js';
import type { OutboxCore } from './core.js';
import { type Draft, Drafts, type Pending } from './draft.js';
import { bodiesOf, encodeOutboxRow, positionKey, TABLE } from './rows.js';
import { appended, newest, type StreamState } from './state.js';

/** Bytes of publishes that may wait to be stored, per organisation: some hundred milliseconds of a slow disk. */
const MAX_QUEUED_BYTES = 32 * 1024 * 1024;
/** Bytes of one change: what is hashed and signed in one turn of the loop, ~5 ms. */
const CHANGE_BYTES = 4 * 1024 * 1024;
/** What a batch costs beside its records on the disk, and a publish in memory, about: many tiny ones must not pass under a cap. */
const ENTRY_BYTES = 512;
/** Long enough for a peer that is there to take some, milliseconds. */
const FULL_RETRY_MS = 1_000;

/**
 * Stores what is published, in the order of the calls.
 *
 * What comes in one turn of the loop, and what comes while a change is on its way to the disk, becomes the next change: a publish that is
 * alone leaves at once, many share signatures and syncs.
 */
export class Appender {
  readonly #core: OutboxCore;
  readonly #admission: Admission;
  readonly #queue = new Fifo<Pending>();
  #queuedBytes = 0;
  #scheduled = false;
  #storing = false;
  /** Tasks that wait until nothing is being stored. */
  readonly #idle: (() => void)[] = [];
  #closed: FedgateError | undefined;

  constructor(core: OutboxCore, admission: Admission) {
    this.#core = core;
    this.#admission = admission;
  }

  /** As Outbox.append. */
  append(outgoing: OutgoingRecords): Promise<Stored> {
    const cost = outgoing.records.bytes.length + ENTRY_BYTES;
    if (this.#closed) return Promise.reject(this.#closed);
    if (this.#queuedBytes + cost > MAX_QUEUED_BYTES) return Promise.reject(this.#full());
    const { idempotency, senderNode: node, channel } = outgoing;
    const call = idempotency && { node, address: `pubsub://${this.#core.org}/${channel}`, idempotency };
    this.#queuedBytes += cost;
    const stored = new Promise<Stored>((resolve, reject) => {
      const admitted = (judgement: Judgement): void => {
        if (judgement.kind === 'new') {
          this.#push({ outgoing, claim: judgement.claim, extra: undefined, capped: true, resolve, reject });
        } else {
          judgement.position.then(({ epoch, sequence }) => resolve({ epoch, sequence, duplicate: true }), reject);
        }
      };
      this.#admission.admit(call, admitted, reject);
    });
    return this.#counted(stored, cost);
  }

  /** Stores something of the gateway's own, whatever waits already, with more in the same change. */
  appendOwn(outgoing: OutgoingRecords, extra: (change: Change) => void): Promise<Stored> {
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) =>
      this.#push({ outgoing, claim: undefined, extra, capped: false, resolve, reject }),
    );
  }

  /** Runs a task while nothing is stored: it changes what the next number is. */
  async suspended<T>(task: () => Promise<T>): Promise<T> {
    while (this.#storing) await new Promise<void>(resolve => this.#idle.push(resolve));
    this.#storing = true;
    try {
      return await task();
    } finally {
      this.#ended();
      this.#schedule();
    }
  }

  close(error: FedgateError): void {
    this.#closed = error;
    this.#refuse(this.#queue.drain(), error);
  }

  async #counted(stored: Promise<Stored>, cost: number): Promise<Stored> {
    try {
      return await stored;
    } finally {
      this.#queuedBytes -= cost;
    }
  }

  #push(pending: Pending): void {
    if (this.#closed) return this.#refuse([pending], this.#closed);
    this.#queue.push(pending);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#storing || this.#scheduled || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#storeAll();
    });
  }

  async #storeAll(): Promise<void> {
    if (this.#storing) return;
    this.#storing = true;
    try {
      while (this.#queue.length > 0 && this.#idle.length === 0) await this.#store(this.#take());
    } finally {
      this.#ended();
      this.#schedule();
    }
  }

  #ended(): void {
    this.#storing = false;
    for (const resume of this.#idle.splice(0)) resume();
  }

  /** What fits into one change; what does not fit into the outbox is refused. */
  #take(): Draft[] {
    const { state } = this.#core;
    const { outboxBytes } = this.#core.shared.limits;
    const drafts = new Drafts();
    let waiting = state.bytes + state.batches * ENTRY_BYTES;
    let bytes = 0;
    for (let next = this.#queue.peek(); next && bytes < CHANGE_BYTES; next = this.#queue.peek()) {
      this.#queue.shift();
      const { length } = next.outgoing.records.bytes;
      const lost = next.claim?.lost;
      if (lost !== undefined) this.#refuse([next], lost);
      else if (next.capped && waiting + length > outboxBytes) this.#refuse([next], this.#full());
      else {
        drafts.add(next);
        waiting += length;
        bytes += length;
      }
    }
    return drafts.all;
  }

  async #store(drafts: readonly Draft[]): Promise<void> {
    if (drafts.length === 0) return;
    const parts = drafts.flatMap(draft => draft.parts);
    const positions: StreamPosition[] = [];
    const batches: CachedBatch[] = [];
    try {
      const { change, state } = this.#seal(drafts, positions, batches);
      await this.#core.commit(change, state, { committed: () => this.#keep(batches) });
    } catch (error) {
      // Whoever published after them must not be stored before them: all that waits is told.
      this.#refuse([...parts, ...this.#queue.drain()], error);
      return;
    }
    drafts.forEach((draft, i) => {
      const position = positions[i] as StreamPosition;
      for (const { claim, resolve } of draft.parts) {
        claim?.committed();
        resolve({ epoch: position.epoch, sequence: position.sequence, duplicate: false });
      }
    });
  }

  /** Before the link hears of the batches: it would read them from the disk otherwise. */
  #keep(batches: readonly CachedBatch[]): void {
    const { shared, org } = this.#core;
    for (const batch of batches) shared.cache.put(org, batch);
    if (this.#core.oldestMs === 0) this.#core.oldestMs = batches[0]?.storedMs ?? 0;
  }

  #seal(
    drafts: readonly Draft[],
    positions: StreamPosition[],
    batches: CachedBatch[],
  ): { readonly change: Change; readonly state: StreamState } {
    const { shared, org } = this.#core;
    const change = new Change();
    const { certificate } = shared.seal;
    change.put(TABLE.certificate, certificate.sha256, certificate.der);
    let { state } = this.#core;
    const nowMs = shared.now();
    for (const draft of drafts) {
      const { epoch, next: sequence } = newest(state);
      const position = { epoch, sequence };
      const { ttlMs } = draft.terms;
      const expireMs = ttlMs === 0 ? 0 : nowMs + ttlMs;
      const records = draft.block();
      const { channel, senderNode, notifyConsumed } = draft.terms;
      const terms = { channel, senderNode, notifyConsumed, expireMs };
      const { header, signature } = shared.seal.seal(org, position, terms, records, nowMs);
      const body = shared.store.reserve(bodiesOf(org), records.bytes.length);
      change.write(body, [records.bytes]);
      const row = {
        header,
        signature,
        body,
        records: records.count,
        bytes: BigInt(records.bytes.length),
        storedMs: BigInt(nowMs),
        expireMs: BigInt(expireMs),
        withheld: 0 as const,
        certificateSha256: certificate.sha256,
      };
      change.put(TABLE.batch, positionKey(org, position), encodeOutboxRow(row));
      if (expireMs > 0) change.put(TABLE.expiry, key(expireMs, org, epoch, sequence), Buffer.alloc(0));
      for (const { claim, extra } of draft.parts) {
        claim?.record(change, position);
        extra?.(change);
      }
      state = appended(state, 1, records.count, records.bytes.length);
      positions.push(position);
      batches.push({ epoch, sequence, header, signature, records, storedMs: nowMs, expireMs });
    }
    return { change, state };
  }

  #refuse(parts: readonly { readonly claim: Claim | undefined; reject(error: unknown): void }[], error: unknown): void {
    for (const { claim, reject } of parts) {
      claim?.failed(error);
      reject(error);
    }
  }

  #full(): FedgateError {
    const { org } = this.#core;
    return new FedgateError('OUTBOX_FULL', `as much waits for ${org} as may`, {
      metadata: { limit: 'outbox', org },
      retryAfterMs: FULL_RETRY_MS,
    });
  }
}
