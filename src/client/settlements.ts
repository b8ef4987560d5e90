import { ConsumeRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { type UnsettledAck, unknownAck } from './carried-acks.js';
import { Deferred } from './deferred.js';

export interface NackOptions {
  /** How long to wait before the record is delivered again, milliseconds. @default 0 */
  readonly delayMs?: number | undefined;
  /** Why, for people; stands in the dead letter. At most 500 bytes. */
  readonly reason?: string | undefined;
  /** Whether to make it a dead letter at once. @default false */
  readonly deadLetter?: boolean | undefined;
}

interface Range {
  readonly first: number;
  last: number;
}

/** What is said of records, and of which. */
interface Settlement {
  readonly kind: 'ack' | 'nack' | 'inProgress';
  readonly options: NackOptions;
  readonly ranges: Range[];
  readonly done: Deferred<void>;
}

/** The bound of the contract for one frame. */
const MAX_RANGES = 10_000;

/**
 * Acknowledgements of one stream. What one turn of the loop says is written as one frame for each kind, with records that stand next to
 * each other as one range; all of it shares a promise.
 */
export class Settlements {
  readonly #open = new Map<string, Settlement>();
  #unwritten: Settlement[] = [];
  readonly #unsettled = new Map<number, Settlement>();
  #nextId = 1;

  /** Whether something was written whose answer is not there yet. */
  get awaiting(): boolean {
    return this.#unsettled.size > 0;
  }

  /** Resolves when it is on stable storage. */
  add(kind: Settlement['kind'], first: number, last: number, options: NackOptions = {}): Promise<void> {
    const key = kind === 'nack' ? JSON.stringify([options.delayMs, options.reason, options.deadLetter]) : kind;
    const open = this.#open.get(key);
    const previous = open?.ranges.at(-1);
    if (open && previous?.last === first - 1) previous.last = last;
    else if (open && open.ranges.length < MAX_RANGES) open.ranges.push({ first, last });
    // Only a hint, and the stream takes nothing at the moment: it is dropped rather than kept.
    else if (open && kind === 'inProgress') return open.done.promise;
    else return this.#begin(key, { kind, options, ranges: [{ first, last }], done: new Deferred() });
    return open.done.promise;
  }

  /** The frames of what was said since the last time. */
  *take(): Generator<Buffer> {
    this.#open.clear();
    for (const settlement of this.#unwritten.splice(0)) {
      const { kind, options, ranges } = settlement;
      const id = this.#nextId++;
      if (kind !== 'inProgress') this.#unsettled.set(id, settlement);
      yield encode(kind, options, ranges, BigInt(id));
    }
  }

  settled(id: number): void {
    this.#unsettled.get(id)?.done.resolve();
    this.#unsettled.delete(id);
  }

  /** Resolves when all that was said until now is settled one way or the other. */
  async all(): Promise<void> {
    const waiting = this.#unwritten.filter(({ kind }) => kind !== 'inProgress');
    await Promise.allSettled([...waiting, ...this.#unsettled.values()].map(({ done }) => done.promise));
  }

  /** The stream is over. Of what has no answer it is open whether it counts: acknowledgements are handed on, all else is rejected. */
  end(why: string): UnsettledAck[] {
    const open = [...this.#unsettled.values(), ...this.#unwritten.splice(0)];
    this.#open.clear();
    this.#unsettled.clear();
    for (const { kind, done } of open) if (kind !== 'ack') done.reject(unknownAck(why));
    return open.filter(({ kind }) => kind === 'ack');
  }

  #begin(key: string, settlement: Settlement): Promise<void> {
    this.#open.set(key, settlement);
    this.#unwritten.push(settlement);
    return settlement.done.promise;
  }
}

function encode(kind: Settlement['kind'], options: NackOptions, given: readonly Range[], ackId: bigint): Buffer {
  const ranges = joined(given).map(({ first, last }) => ({ first: BigInt(first), last: BigInt(last) }));
  const { delayMs = 0, reason = '', deadLetter = false } = options;
  const frame: ConsumeRequest['frame'] =
    kind === 'ack'
      ? { $case: 'ack', value: { ranges, ackId } }
      : kind === 'nack'
        ? { $case: 'nack', value: { ranges, delayMs, reason, deadLetter, ackId } }
        : { $case: 'inProgress', value: { ranges } };
  return Buffer.from(ConsumeRequest.encode({ frame }).finish());
}

/** Programs finish in any order: what stands next to each other in the end becomes one range. */
function joined(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const previous = result.at(-1);
    if (previous && first <= previous.last + 1) previous.last = Math.max(previous.last, last);
    else result.push({ first, last });
  }
  return result;
}
