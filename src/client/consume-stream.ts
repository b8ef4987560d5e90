import type { Client, ClientDuplexStream } from '@grpc/grpc-js';
import {
  ConsumeNotice,
  ConsumeRequest,
  MessagingServiceService,
  type SubscriptionSpec,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { FedgateError } from '../errors.js';
import { fromGrpcError } from '../transport/status.js';
import { readPlaced } from '../wire/messaging-frames.js';
import type { CarriedAcks } from './carried-acks.js';
import { BUFFER_BYTES, Credit } from './credit.js';
import { Delivery, type OutRange, type Settler } from './delivery.js';
import { type DurableNotice, toNotice } from './notices.js';
import { type NackOptions, Settlements } from './settlements.js';

export interface ConsumeStreamOptions {
  readonly spec: SubscriptionSpec;
  /** Records that may be out at most. */
  readonly credit: number;
  /** What earlier streams left open. */
  readonly carried: CarriedAcks;
  /** An acknowledgement of a record that this stream delivered, which broke. */
  onLate(first: number, last: number): Promise<void>;
  /** Records that may be delivered in all. */
  readonly total: number;
  onOpened(opened: DurableOpened): void;
  onItem(item: Delivery | DurableNotice): void;
  /** It is over. `undefined`: as asked for by `finish`. */
  onEnd(error: FedgateError | undefined): void;
}

/** How a durable subscription was found, or made. */
export interface DurableOpened {
  /** The gateway that serves it. */
  readonly gateway: string;
  /** The lowest offset that it has not acknowledged. */
  readonly offset: number;
  /** Whether it was made by this. */
  readonly created: boolean;
}

type Call = ClientDuplexStream<Buffer, Buffer>;

/** How long the gateway may take to settle what was acknowledged before the end, milliseconds. */
const FINISH_MS = 5_000;

const encode = (frame: ConsumeRequest['frame']): Buffer => Buffer.from(ConsumeRequest.encode({ frame }).finish());
const untouched = (bytes: Buffer): Buffer => bytes;

/** One Consume call: allows records, hands them on, and settles them. */
export class ConsumeStream implements Settler {
  readonly #options: ConsumeStreamOptions;
  readonly #call: Call;
  readonly #credit: Credit;
  readonly #settlements = new Settlements();
  /** What is out, oldest first. */
  readonly #out = new Set<OutRange>();
  #state: 'open' | 'finishing' | 'over' = 'open';
  #finishing: NodeJS.Timeout | undefined;
  #bufferedBytes = 0;
  #paused = false;
  #writable = true;
  #scheduled = false;
  #broken = false;

  constructor(channel: Client, options: ConsumeStreamOptions) {
    this.#options = options;
    this.#credit = new Credit(options.credit, options.total);
    const { path } = MessagingServiceService.consume;
    const call: Call = channel.makeBidiStreamRequest(path, untouched, untouched);
    this.#call = call;
    call.on('data', (bytes: Buffer) => this.#receive(bytes));
    call.on('error', error => this.#end(fromGrpcError(error)));
    call.on('end', () => this.#end(new FedgateError('DRAINING', 'the gateway ended the subscription')));
    this.#write(encode({ $case: 'start', value: options.spec }));
    this.#allow();
  }

  get broken(): boolean {
    return this.#broken;
  }

  /** The iteration took a delivery. */
  taken({ frame }: Delivery): void {
    this.#bufferedBytes -= frame.bytes.length;
    this.#adjust();
    this.#allow();
  }

  settle(kind: 'ack' | 'nack', out: OutRange, first: number, last: number, options?: NackOptions): Promise<void> {
    if (this.#state !== 'open')
      return this.#broken && kind === 'ack' ? this.#options.onLate(first, last) : refusedAck();
    this.#giveBack(out, first, last);
    const settled = this.#settlements.add(kind, first, last, options);
    this.#schedule();
    return settled;
  }

  inProgress(first: number, last: number): void {
    if (this.#state !== 'open') return;
    void this.#settlements.add('inProgress', first, last);
    this.#schedule();
  }

  /** Resolves when all that was acknowledged until now is settled, or never will be. */
  settled(): Promise<void> {
    return this.#settlements.all();
  }

  /** Acknowledges what is out here of what earlier streams left open. */
  carryOn(): void {
    if (this.#state !== 'open' || this.#options.carried.size === 0) return;
    for (const out of [...this.#out]) this.#carryOn(out);
  }

  /** Takes no more, has what was acknowledged settled, and ends. */
  finish(): void {
    if (this.#state !== 'open') return;
    this.#state = 'finishing';
    this.#flush();
    this.#call.end();
    this.#call.resume();
    this.#finishing = setTimeout(() => this.#call.cancel(), FINISH_MS);
  }

  /** Ends at once. */
  cut(): void {
    this.#call.cancel();
    this.#end(new FedgateError('CANCELLED', 'the subscription was closed'));
  }

  #receive(bytes: Buffer): void {
    if (this.#state === 'over') return;
    try {
      const frame = readPlaced(bytes);
      if (frame.notice) this.#noticed(ConsumeNotice.decode(frame.notice));
      else if (this.#state === 'open') this.#delivered(new Delivery(frame, this), bytes.length);
    } catch (cause) {
      this.#call.cancel();
      this.#end(new FedgateError('FRAME_MALFORMED', 'the gateway sent what is no delivery', { cause }));
    }
  }

  #delivered(delivery: Delivery, bytes: number): void {
    const { out, frame } = delivery;
    if (out.count === 0) return;
    if (frame.deliveryCount > 1) this.#comesAgain(out.offset, out.last);
    this.#credit.delivered(out.count, bytes);
    this.#bufferedBytes += bytes;
    this.#out.add(out);
    this.#carryOn(out);
    this.#adjust();
    this.#allow();
    this.#options.onItem(delivery);
  }

  #carryOn(out: OutRange): void {
    const { carried } = this.#options;
    if (carried.size === 0) return;
    for (const { first, last } of carried.take(out.offset, out.last, (from, to) => this.settle('ack', out, from, to)))
      this.#credit.unwanted(last - first + 1);
  }

  /** What is delivered again, or given up, is not out from the first time any more, even if the program never acknowledges that. */
  #comesAgain(first: number, last: number): void {
    let left = last - first + 1;
    for (const out of this.#out) {
      left -= this.#giveBack(out, first, last);
      // Mostly it is the oldest that was out for too long.
      if (left <= 0) break;
    }
  }

  #giveBack(out: OutRange, first: number, last: number): number {
    const returned = out.giveBack(first, last);
    this.#credit.returned(returned);
    if (out.left === 0) this.#out.delete(out);
    return returned;
  }

  #noticed(notice: ConsumeNotice): void {
    const { event } = notice;
    if (event?.$case === 'settled') {
      this.#settlements.settled(Number(event.value.ackId));
      this.#adjust();
    } else if (event?.$case === 'opened') {
      const { gateway, offset, created } = event.value;
      this.#options.carried.settledBelow(Number(offset));
      this.#options.onOpened({ gateway, offset: Number(offset), created });
    } else {
      const told = toNotice(notice);
      if (!told) return;
      if (told.kind === 'deadLettered') this.#comesAgain(told.first, told.last);
      this.#allow();
      this.#options.onItem(told);
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#state === 'open' && this.#writable) this.#flush();
    });
  }

  #flush(): void {
    for (const frame of this.#settlements.take()) this.#write(frame);
    this.#allow();
    this.#adjust();
  }

  #allow(): void {
    if (this.#state !== 'open' || !this.#writable) return;
    const records = this.#credit.take(this.#bufferedBytes);
    if (records > 0) this.#write(encode({ $case: 'credit', value: { records } }));
  }

  #write(frame: Buffer): void {
    if (this.#call.write(frame) || !this.#writable) return;
    this.#writable = false;
    this.#call.once('drain', () => {
      this.#writable = true;
      if (this.#state === 'open') this.#flush();
    });
  }

  /** Reading stops at a full buffer, unless somebody waits for an answer that stands behind what is not read yet. */
  #adjust(): void {
    const full = this.#bufferedBytes > (this.#paused ? BUFFER_BYTES / 2 : BUFFER_BYTES);
    const pause = full && this.#state === 'open' && !this.#settlements.awaiting;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#call.pause();
    else this.#call.resume();
  }

  #end(error: FedgateError): void {
    if (this.#state === 'over') return;
    const asked = this.#state === 'finishing';
    this.#state = 'over';
    clearTimeout(this.#finishing);
    this.#broken = !asked;
    this.#out.clear();
    for (const open of this.#settlements.end(error.message)) this.#options.carried.add(open, error.message);
    this.#options.onEnd(asked ? undefined : error);
  }
}

/** Never an unhandled rejection: programs need not look at what an acknowledgement came to. */
function refusedAck(): Promise<void> {
  const refused = Promise.reject(
    new FedgateError('CANCELLED', 'the stream that delivered the record is over; it is delivered again'),
  );
  refused.catch(() => undefined);
  return refused;
}
