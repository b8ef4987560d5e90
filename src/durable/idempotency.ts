import { Fifo } from '../fifo.js';
import {
  DEDUPE_KEEP_MS,
  type HeldCall,
  type IdempotencyOptions,
  type Judgement,
  MAX_DEDUPE_IDS,
  MAX_PRODUCERS,
  type RepeatableCall,
} from './idempotency-call.js';
import { DedupeIds } from './idempotency-ids.js';
import { IdempotencyOrder } from './idempotency-order.js';
import { Producers } from './idempotency-producers.js';

export type { Claim, Judgement, RepeatableCall } from './idempotency-call.js';

/** Knows calls that were made before. One per scope; `Admission` is the way to ask it. */
export class IdempotencyTable {
  readonly #ids: DedupeIds;
  readonly #producers: Producers;
  #pruning: Promise<void> | undefined;

  private constructor(ids: DedupeIds, producers: Producers) {
    this.#ids = ids;
    this.#producers = producers;
  }

  static async open(options: IdempotencyOptions): Promise<IdempotencyTable> {
    const { store, scope, now } = options;
    const maxIds = options.maxIds ?? MAX_DEDUPE_IDS;
    const ids = await IdempotencyOrder.open({ store, scope, kind: 'id', now, max: maxIds, keepMs: DEDUPE_KEEP_MS });
    const max = options.maxProducers ?? MAX_PRODUCERS;
    const producers = await IdempotencyOrder.open({ store, scope, kind: 'producer', now, max, keepMs: undefined });
    return new IdempotencyTable(new DedupeIds(options, ids), new Producers(options, producers, max));
  }

  /** Keeps what is known of a call at hand until it is judged. @internal */
  hold(call: RepeatableCall): HeldCall {
    const { idempotency } = call;
    return idempotency.kind === 'id' ? this.#ids.hold(call) : this.#producers.hold(call, idempotency);
  }

  /** Forgets what is too old or too much, a bounded piece per call; to be called every minute or so. Rejects as `commit` does. */
  prune(): Promise<void> {
    this.#pruning ??= this.#ids.prune().then(() => this.#producers.prune());
    const done = this.#pruning.finally(() => {
      this.#pruning = undefined;
    });
    return done;
  }
}

/**
 * Judges calls in the order in which they came, although some must be looked up on disk first. One per order that is to be kept: an
 * outbox, the log. What waits here is bounded by what callers may have in flight.
 */
export class Admission {
  readonly #table: IdempotencyTable;
  readonly #waiting = new Fifo<Waiting>();

  constructor(table: IdempotencyTable) {
    this.#table = table;
  }

  /** Calls `then`, in this turn when nothing has to be looked up, or `failed` with SEQUENCE_GAP, PRODUCER_FENCED, STORE_*. */
  admit(
    call: RepeatableCall | undefined,
    then: (judgement: Judgement) => void,
    failed: (error: unknown) => void,
  ): void {
    const waiting: Waiting = { held: call && this.#table.hold(call), then, failed, ready: true, error: undefined };
    const { held } = waiting;
    if (held?.ready !== undefined) {
      waiting.ready = false;
      held.ready.then(
        () => this.#readied(waiting, undefined),
        error => this.#readied(waiting, { error }),
      );
    }
    if (this.#waiting.length > 0 || !waiting.ready) this.#waiting.push(waiting);
    else judge(waiting);
  }

  #readied(waiting: Waiting, error: Waiting['error']): void {
    waiting.ready = true;
    waiting.error = error;
    for (let head = this.#waiting.peek(); head?.ready; head = this.#waiting.peek()) {
      this.#waiting.shift();
      judge(head);
    }
  }
}

interface Waiting {
  readonly held: HeldCall | undefined;
  readonly then: (judgement: Judgement) => void;
  readonly failed: (error: unknown) => void;
  ready: boolean;
  error: { readonly error: unknown } | undefined;
}

function judge({ held, then, failed, error }: Waiting): void {
  if (!held) return then({ kind: 'new', claim: undefined });
  if (error) {
    held.release();
    return failed(error.error);
  }
  let judgement: Judgement;
  try {
    judgement = held.judge();
  } catch (refused) {
    return failed(refused);
  }
  then(judgement);
}
