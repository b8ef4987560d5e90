import type { Refetch, Refetched } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { formatPosition } from '../durable/position.js';
import type { Outbox, StreamPosition } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import { encodeFrame, type Lane } from './lane.js';

/** Batches that one side may ask the other for at a time: 2 MiB each. */
const MAX_REFETCHES = 16;

interface Asked {
  resolve(records: Buffer | undefined): void;
  reject(error: FedgateError): void;
}

export const cannotAsk = (): FedgateError =>
  new FedgateError('PEER_UNREACHABLE', 'the origin of a batch cannot be asked for it at the moment');

export interface RefetchesOptions {
  /** The lane of the peer's batches: asked for again on it, and come again on it. */
  readonly incoming: Lane;
  /** The lane of ours: records that the peer asks for go in bulk, and the same way as our batches. */
  readonly outgoing: Lane;
  readonly outbox: Outbox;
}

/** Asks the origin for batches that went bad on the disk here, and answers the same question of the other side. */
export class Refetches {
  readonly #incoming: Lane;
  readonly #outgoing: Lane;
  readonly #outbox: Outbox;
  readonly #asked = new Map<string, Asked>();
  #answering: Promise<void> = Promise.resolve();
  #toAnswer = 0;

  constructor({ incoming, outgoing, outbox }: RefetchesOptions) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#outbox = outbox;
    incoming.closed.addEventListener('abort', () => this.#end(), { once: true });
  }

  /** The records as encoded. Undefined: the origin has them no longer. Rejects with PEER_UNREACHABLE while it cannot be asked. */
  ask(position: StreamPosition): Promise<Buffer | undefined> {
    const name = formatPosition(position);
    if (this.#incoming.closed.aborted || this.#asked.size >= MAX_REFETCHES || this.#asked.has(name))
      return Promise.reject(cannotAsk());
    return new Promise((resolve, reject) => {
      this.#asked.set(name, { resolve, reject });
      const { epoch: streamEpoch, sequence } = position;
      this.#incoming.put({ $case: 'refetch', value: { streamEpoch, sequence: BigInt(sequence) } });
    });
  }

  /** Throws FRAME_UNEXPECTED for what was not asked for. */
  take({ streamEpoch, sequence, records }: Refetched): void {
    const name = formatPosition({ epoch: streamEpoch, sequence: Number(sequence) });
    const asked = this.#asked.get(name);
    if (!asked) throw new FedgateError('FRAME_UNEXPECTED', `batch ${name} comes again and was not asked for`);
    this.#asked.delete(name);
    asked.resolve(records.length > 0 ? Buffer.from(records) : undefined);
  }

  /** Answers, one after the other. Throws LIMIT_REACHED when more are asked than may be at a time. */
  answer({ streamEpoch, sequence }: Refetch, fail: (error: unknown) => void): void {
    if (this.#toAnswer >= MAX_REFETCHES) {
      throw new FedgateError('LIMIT_REACHED', 'too many batches are asked for at once', {
        metadata: { limit: 'refetches' },
      });
    }
    this.#toAnswer++;
    this.#answering = this.#answering
      .then(() => this.#answer({ epoch: streamEpoch, sequence: Number(sequence) }))
      .catch(error => {
        if (!this.#outgoing.closed.aborted) fail(error);
      })
      .finally(() => {
        this.#toAnswer--;
      });
  }

  async #answer({ epoch: streamEpoch, sequence }: StreamPosition): Promise<void> {
    const block = await this.#outbox.refetch({ epoch: streamEpoch, sequence });
    const records = block?.bytes ?? Buffer.alloc(0);
    const value = { streamEpoch, sequence: BigInt(sequence), records };
    await this.#outgoing.out.send(encodeFrame({ $case: 'refetched', value }));
  }

  #end(): void {
    for (const { reject } of this.#asked.values()) reject(cannotAsk());
    this.#asked.clear();
  }
}
