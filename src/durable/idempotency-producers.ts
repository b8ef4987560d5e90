import { ProducerRow } from '../../gen/ts/fedgate/store/v1/idempotency.js';
import { FedgateError, quoted } from '../errors.js';
import { key } from '../store/keys.js';
import type { Change, Store } from '../store/store.js';
import type { Claim, HeldCall, Judgement, RepeatableCall } from './idempotency-call.js';
import { IDEMPOTENCY_TABLE, type IdempotencyOrder } from './idempotency-order.js';
import { Outcome } from './outcome.js';
import type { Idempotency, StreamPosition } from './types.js';

type ProducerCall = Extract<Idempotency, { kind: 'producer' }>;

/** Places remembered per producer. What is older is said to be where the oldest of these is: it was stored before. */
const RUNS = 16;
/** Producers in memory that nobody uses at the moment: ~1 KiB each. */
const IDLE_PRODUCERS = 4_096;

/** A producer: what is committed, and its calls that are under way, in order. */
interface Producer {
  readonly name: string;
  readonly rowKey: Buffer;
  readonly node: string;
  row: ProducerRow | undefined;
  loading: Promise<void> | undefined;
  readonly claims: ProducerClaim[];
  holds: number;
}

/** Producers number their calls; each number is taken once, and none is left out. */
export class Producers {
  readonly #store: Store;
  readonly #scope: string;
  readonly #order: IdempotencyOrder;
  readonly #max: number;
  /** Those in use, and those used last: a Map keeps the order. */
  readonly #producers = new Map<string, Producer>();

  constructor(
    { store, scope }: { readonly store: Store; readonly scope: string },
    order: IdempotencyOrder,
    max: number,
  ) {
    this.#store = store;
    this.#scope = scope;
    this.#order = order;
    this.#max = max;
  }

  hold(call: RepeatableCall, asked: ProducerCall): HeldCall {
    const rowKey = this.#key(call);
    const name = rowKey.toString('latin1');
    let producer = this.#producers.get(name);
    if (!producer) {
      producer = { name, rowKey, node: call.node, row: undefined, loading: undefined, claims: [], holds: 0 };
      producer.loading = this.#load(producer);
    }
    this.#producers.delete(name);
    this.#producers.set(name, producer);
    producer.holds++;
    this.#evict();
    const held = producer;
    return {
      ready: held.loading,
      judge: () => this.#judge(held, asked),
      release: () => {
        held.holds--;
      },
    };
  }

  #judge(producer: Producer, asked: ProducerCall): Judgement {
    producer.holds--;
    const { row, claims } = producer;
    const newest = claims.at(-1)?.asked ?? (row && { epoch: Number(row.epoch), sequence: Number(row.sequence) });
    const epoch = newest?.epoch ?? asked.epoch;
    if (asked.epoch < epoch) {
      throw new FedgateError(
        'PRODUCER_FENCED',
        `epoch ${asked.epoch} of producer ${quoted(asked.id)} is over, it is at epoch ${epoch}`,
        { metadata: { producer: asked.id, epoch: String(epoch) } },
      );
    }
    const expected = newest && epoch === asked.epoch ? newest.sequence + 1 : 1;
    if (asked.sequence > expected) {
      throw new FedgateError(
        'SEQUENCE_GAP',
        `sequence ${asked.sequence} of producer ${quoted(asked.id)} came where ${expected} is next`,
        { metadata: { producer: asked.id, expected: String(expected) } },
      );
    }
    if (asked.sequence < expected) return { kind: 'known', position: this.#known(producer, asked) };
    const claim = new ProducerClaim(asked, producer, this.#order, this.#max);
    claims.push(claim);
    return { kind: 'new', claim };
  }

  prune(): Promise<void> {
    return this.#order.prune(rowKey => {
      const producer = this.#producers.get(rowKey.toString('latin1'));
      if (producer && inUse(producer)) return true;
      // What memory knows of it must go with the row.
      if (producer) this.#producers.delete(rowKey.toString('latin1'));
      return false;
    });
  }

  #known({ row, claims }: Producer, { epoch, sequence }: ProducerCall): Promise<StreamPosition> {
    const claim = claims.find(({ asked }) => asked.epoch === epoch && asked.sequence === sequence);
    if (claim) return claim.outcome.promise;
    const runs = row?.runs ?? [];
    const run = runs.findLast(({ firstSequence }) => firstSequence <= BigInt(sequence)) ?? runs[0];
    return Promise.resolve({ epoch: run?.streamEpoch ?? 0n, sequence: Number(run?.streamSequence ?? 0n) });
  }

  async #load(producer: Producer): Promise<void> {
    try {
      const bytes = await this.#store.get(IDEMPOTENCY_TABLE, producer.rowKey);
      if (bytes) producer.row = ProducerRow.decode(bytes);
    } catch (error) {
      // Nobody may take it for one that is new.
      this.#producers.delete(producer.name);
      throw error;
    } finally {
      producer.loading = undefined;
    }
  }

  #evict(): void {
    let tries = 16;
    for (const [name, producer] of this.#producers) {
      if (this.#producers.size <= IDLE_PRODUCERS || tries-- === 0) return;
      if (!inUse(producer)) this.#producers.delete(name);
    }
  }

  #key({ node, address, idempotency }: RepeatableCall): Buffer {
    return key(this.#scope, 'producer', node, address, idempotency.id);
  }
}

const inUse = ({ holds, claims, loading }: Producer): boolean =>
  holds > 0 || claims.length > 0 || loading !== undefined;

class ProducerClaim implements Claim {
  readonly asked: ProducerCall;
  readonly outcome = new Outcome<StreamPosition>();
  lost: unknown;
  readonly #producer: Producer;
  readonly #order: IdempotencyOrder;
  readonly #max: number;
  #recorded: { readonly row: ProducerRow; readonly position: StreamPosition } | undefined;

  constructor(asked: ProducerCall, producer: Producer, order: IdempotencyOrder, max: number) {
    this.asked = asked;
    this.#producer = producer;
    this.#order = order;
    this.#max = max;
  }

  get recordedRow(): ProducerRow | undefined {
    return this.#recorded?.row;
  }

  record(change: Change, position: StreamPosition): void {
    const { rowKey, claims, node } = this.#producer;
    // Changes are committed in order: this one comes after those of the calls before it.
    const before = claims[claims.indexOf(this) - 1]?.recordedRow ?? this.#producer.row;
    const number = this.#number(change, node, before);
    const row = {
      epoch: BigInt(this.asked.epoch),
      sequence: BigInt(this.asked.sequence),
      runs: this.#runs(before, position),
      number: BigInt(number),
    };
    this.#recorded = { row, position };
    change.put(IDEMPOTENCY_TABLE, rowKey, Buffer.from(ProducerRow.encode(row).finish()));
  }

  committed(): void {
    const { claims } = this.#producer;
    const at = claims.indexOf(this);
    if (at >= 0) claims.splice(at, 1);
    if (!this.#recorded) return;
    this.#producer.row = this.#recorded.row;
    this.outcome.resolve(this.#recorded.position);
  }

  /** The calls after it cannot be stored either: the numbers would have a hole. */
  failed(error: unknown): void {
    const { claims } = this.#producer;
    const at = claims.indexOf(this);
    if (at < 0) return;
    for (const claim of claims.splice(at)) {
      claim.lost = error;
      claim.outcome.reject(error);
    }
  }

  /** One that is used goes on living: it moves up when half of the others came after it. */
  #number(change: Change, node: string, before: ProducerRow | undefined): number {
    const old = before && Number(before.number);
    if (old !== undefined && this.#order.next(node) - old <= this.#max / 2) return old;
    return this.#order.add(change, node, this.#producer.rowKey, old);
  }

  #runs(before: ProducerRow | undefined, { epoch, sequence }: StreamPosition): ProducerRow['runs'] {
    const old = before?.epoch === BigInt(this.asked.epoch) ? before.runs : [];
    const last = old.at(-1);
    if (last?.streamEpoch === epoch && last.streamSequence === BigInt(sequence)) return old;
    const run = {
      firstSequence: BigInt(this.asked.sequence),
      streamEpoch: epoch,
      streamSequence: BigInt(sequence),
    };
    return [...old.slice(-(RUNS - 1)), run];
  }
}
