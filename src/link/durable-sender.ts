import type { Credit, Receipt } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { compare } from '../durable/position.js';
import type { Outbox, SealedDurable, StreamPosition } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import { encodeBatchFrame } from '../wire/lane-frames.js';
import { EMPTY_BLOCK } from '../wire/records.js';
import type { Lane } from './lane.js';
import type { Pacer } from './pacer.js';
import { openReceipt, type ReceiptTerms } from './receipt.js';

export interface DurableSenderOptions {
  readonly lane: Lane;
  readonly outbox: Outbox;
  readonly peer: Identity;
  /** What the peer's receipts must say. */
  readonly terms: ReceiptTerms;
  readonly pacer: Pacer;
  /** Hears what must end the lane. */
  readonly fail: (error: unknown) => void;
}

const WITHHELD = { expired: 1, purged: 2, lost: 3 } as const;

/** What a batch costs of the credit. */
export const costOf = ({
  header,
  signature,
  records,
}: Pick<SealedDurable, 'header' | 'signature' | 'records'>): number =>
  header.length + signature.length + (records?.bytes.length ?? 0);

/** Sends what an outbox holds on a durable lane, within the peer's credit, and takes the receipts. */
export class DurableSender {
  readonly #options: DurableSenderOptions;
  readonly #stopped = new AbortController();
  #credit = 0;
  #sentBytes = 0;
  #lastSent: StreamPosition | undefined;
  #running: Promise<void> = Promise.resolve();
  #settling = 0;
  #wake: (() => void) | undefined;
  readonly #idle: (() => void)[] = [];
  readonly #settled: (() => void)[] = [];
  batchesSent = 0;
  recordsSent = 0;

  constructor(options: DurableSenderOptions) {
    this.#options = options;
  }

  start(from: StreamPosition): void {
    this.#running = this.#send(from).catch(error => this.#options.fail(error));
  }

  /** Takes more credit. Throws FRAME_UNEXPECTED when it fell. */
  grant({ bytes }: Credit): void {
    const credit = Number(bytes);
    if (credit < this.#credit) throw new FedgateError('FRAME_UNEXPECTED', 'credit that was given is taken back');
    this.#credit = credit;
    this.wake();
  }

  /** Takes a receipt. Throws what is wrong with it in itself; what does not fit the stream goes to `fail`. */
  take(receipt: Receipt): void {
    const { outbox, terms, peer, fail } = this.#options;
    const verified = openReceipt(receipt, terms, peer);
    this.#settling++;
    outbox
      .settle(verified)
      .catch(fail)
      .finally(() => {
        this.#settling--;
        if (this.#settling === 0) for (const resolve of this.#settled.splice(0)) resolve();
        this.#checkIdle();
      });
  }

  /** The lane may take frames again. */
  wake(): void {
    this.#wake?.();
  }

  /** Sends nothing new. Resolves when nothing is being read or stored any more. */
  async stop(): Promise<void> {
    this.#stopped.abort(new FedgateError('DRAINING', 'the lane sends nothing new'));
    this.wake();
    await this.#running;
  }

  /** Resolves when what was sent has receipts, and these are stored. */
  idle(): Promise<void> {
    return new Promise(resolve => {
      this.#idle.push(resolve);
      this.#checkIdle();
    });
  }

  /** Resolves when no receipt is being stored. */
  settled(): Promise<void> {
    if (this.#settling === 0) return Promise.resolve();
    return new Promise(resolve => this.#settled.push(resolve));
  }

  async #send(from: StreamPosition): Promise<void> {
    const { signal } = this.#stopped;
    for await (const batch of this.#options.outbox.read(from, signal)) {
      const cost = costOf(batch);
      if (!(await this.#permitted(cost))) return;
      this.#put(batch, cost);
    }
  }

  #put(batch: SealedDurable, cost: number): void {
    const { epoch, sequence, header, signature, records = EMPTY_BLOCK, withheld } = batch;
    this.#sentBytes += cost;
    this.#lastSent = { epoch, sequence };
    this.batchesSent++;
    this.recordsSent += records.count;
    const frame = { header, signature, records, withheld: withheld && WITHHELD[withheld] };
    this.#options.lane.out.put(encodeBatchFrame(frame));
  }

  /** Waits until a batch may go; false when none may any more. */
  async #permitted(cost: number): Promise<boolean> {
    const { lane, pacer, outbox } = this.#options;
    const { signal } = this.#stopped;
    const delayMs = pacer.delayMs(cost, outbox.waiting.bytes);
    if (delayMs > 0) await this.#woken(delayMs);
    while (!signal.aborted && (this.#sentBytes + cost > this.#credit || !lane.out.writable)) await this.#woken();
    return !signal.aborted;
  }

  /** Waits to be woken: by credit, the lane or the end. With a time it waits for that, and for the end. */
  #woken(afterMs?: number): Promise<void> {
    return new Promise(resolve => {
      const timer = afterMs === undefined ? undefined : setTimeout(() => done(true), afterMs);
      const done = (late = false): void => {
        if (timer && !late && !this.#stopped.signal.aborted) return;
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = done;
      if (this.#stopped.signal.aborted) done();
    });
  }

  #checkIdle(): void {
    const { outbox } = this.#options;
    const open = this.#lastSent !== undefined && compare(outbox.unreceipted, this.#lastSent) <= 0;
    if (open || this.#settling > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
