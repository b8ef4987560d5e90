import { FedgateError } from '../../errors.js';
import { settledFrame } from './notices.js';
import type { Range } from './ranges.js';

/** Where a consumer's frames go. */
export interface ConsumerSink {
  readonly writable: boolean;
  put(frame: Buffer): void;
  onDrain(listener: () => void): void;
}

/** Credit that is not used adds up to this. */
export const MAX_CREDIT = 1_000_000;

/** What a consumer asks of its subscription. */
export interface ConsumerHost {
  pump(): void;
  acknowledge(consumer: Consumer, ranges: readonly Range[], ackId: bigint): void;
  giveBack(consumer: Consumer, ranges: readonly Range[], nack: NackTerms): void;
  extend(consumer: Consumer, ranges: readonly Range[]): void;
  /** Resolves when what was acknowledged until now is on stable storage. */
  flush(): Promise<void>;
  detach(consumer: Consumer, keepOut: boolean): void;
}

export interface NackTerms {
  readonly delayMs: number;
  readonly reason: string;
  readonly deadLetter: boolean;
  readonly ackId: bigint;
}

export interface ConsumerOptions {
  readonly id: number;
  readonly node: string;
  readonly sink: ConsumerSink;
  /** Its records stay out when it is gone: they are acknowledged by another call. */
  readonly keepOut: boolean;
  readonly host: ConsumerHost;
}

/** One that consumes a subscription now. Ranges are normalised by its caller. */
export class Consumer {
  readonly id: number;
  readonly node: string;
  readonly sink: ConsumerSink;
  /** Rejects when the gateway ends it; never resolves. */
  readonly ended: Promise<never>;
  readonly #keepOut: boolean;
  readonly #host: ConsumerHost;
  readonly #end: (error: FedgateError) => void;
  #error: FedgateError | undefined;
  #credit = 0;
  #leaving = false;
  #detached = false;
  #unsettled = 0;
  #onSettled: (() => void) | undefined;
  #onIdle: (() => void) | undefined;

  constructor({ id, node, sink, keepOut, host }: ConsumerOptions) {
    this.id = id;
    this.node = node;
    this.sink = sink;
    this.#keepOut = keepOut;
    this.#host = host;
    let end: (error: FedgateError) => void = () => undefined;
    this.ended = new Promise((_, reject) => {
      end = reject;
    });
    this.#end = end;
    // Whoever listens hears of it; that nobody does is no defect.
    this.ended.catch(() => undefined);
    sink.onDrain(() => host.pump());
  }

  /** Records that it takes now. */
  get room(): number {
    return this.#leaving || this.#error || !this.sink.writable ? 0 : this.#credit;
  }

  /** What is left of its credit. */
  get credited(): number {
    return this.#credit;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  /** Acknowledgements that are not on stable storage. */
  get unsettled(): number {
    return this.#unsettled;
  }

  /** Hears each time that acknowledgements were settled. */
  onSettled(listener: () => void): void {
    this.#onSettled = listener;
  }

  /** Hears each time that there is nothing more that could go to it now. */
  onIdle(listener: () => void): void {
    this.#onIdle = listener;
  }

  idle(): void {
    this.#onIdle?.();
  }

  credit(records: number): void {
    this.#credit = Math.min(MAX_CREDIT, this.#credit + records);
    this.#host.pump();
  }

  /** Records went to it. */
  spend(records: number): void {
    this.#credit -= records;
  }

  ack(ranges: readonly Range[], ackId: bigint): void {
    if (this.#error) return;
    this.#unsettled++;
    this.#host.acknowledge(this, ranges, ackId);
  }

  nack(ranges: readonly Range[], terms: NackTerms): void {
    if (this.#error) return;
    this.#unsettled++;
    this.#host.giveBack(this, ranges, terms);
  }

  inProgress(ranges: readonly Range[]): void {
    if (!this.#error) this.#host.extend(this, ranges);
  }

  settled(ackId: bigint): void {
    this.#unsettled--;
    if (ackId !== 0n) this.sink.put(settledFrame(ackId));
    this.#onSettled?.();
  }

  /** Ends it from the side of the gateway. */
  end(error: FedgateError): void {
    if (this.#error) return;
    this.#error = error;
    this.#end(error);
    this.close();
  }

  /** Takes no more records, settles what was acknowledged, and leaves. Rejects with what it was ended with meanwhile. */
  async finish(): Promise<void> {
    this.#leaving = true;
    if (!this.#detached) await Promise.race([this.#host.flush(), this.ended]);
    this.close();
    if (this.#error) throw this.#error;
  }

  /** Leaves at once: what is out to it is delivered again. */
  close(): void {
    if (this.#detached) return;
    this.#detached = true;
    this.#leaving = true;
    this.#host.detach(this, this.#keepOut);
  }
}

export const takenOver = (name: string): FedgateError =>
  new FedgateError('SUBSCRIPTION_TAKEN', `another stream of the same node consumes ${name} now`, {
    metadata: { subscription: name },
  });

export const busy = (name: string, node: string): FedgateError =>
  new FedgateError('SUBSCRIPTION_BUSY', `node ${node} consumes ${name}, which is no group`, {
    metadata: { subscription: name, node },
    retryAfterMs: 1_000,
  });
