import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { ConsumeRequest, SubscriptionSpec } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { Consumer } from '../durable/subscriptions/consumer.js';
import { openedFrame } from '../durable/subscriptions/notices.js';
import { parseSpec } from '../durable/subscriptions/spec.js';
import { FedgateError } from '../errors.js';
import type { Pattern } from '../messaging/address.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { nackTerms, readConsumeRequest, toCredit, toRanges } from './consume-frames.js';
import type { ConsumeHost, StreamCount } from './consume-service.js';
import { StreamRights } from './stream-rights.js';

type Frame = NonNullable<ConsumeRequest['frame']>;

/** Acknowledgements of one stream that may be unsettled before the gateway stops reading it: some commits' worth of small ones. */
export const MAX_UNSETTLED_ACKS = 1_024;

/** One Consume call. */
export class ConsumeSession {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #out: FrameWriter<Buffer>;
  readonly #node: string;
  readonly #host: ConsumeHost;
  readonly #rights: StreamRights;
  #consumer: Consumer | undefined;
  #starting = false;
  #paused = false;
  #over = false;
  /** Frames that came while the subscription was being opened: a client need not wait for `opened`. */
  #early: Frame[] = [];

  /** `end` ends the call. */
  constructor(
    call: ServerDuplexStream<Buffer, Buffer>,
    out: FrameWriter<Buffer>,
    node: string,
    host: ConsumeHost,
    end: (error: FedgateError) => void,
  ) {
    this.#call = call;
    this.#out = out;
    this.#node = node;
    this.#host = host;
    this.#rights = new StreamRights(host, node, end);
  }

  /** Resolves when the client has ended the stream and what it acknowledged is settled; rejects with what the stream is to end with. */
  async run(signal: AbortSignal, streams: StreamCount): Promise<void> {
    const { draining } = this.#host;
    if (draining.aborted) throw draining.reason;
    let drain: () => void = () => undefined;
    let over: () => void = () => undefined;
    try {
      await streams.counted(
        this.#node,
        () =>
          new Promise<void>((resolve, reject) => {
            drain = () => void this.#finish().then(() => reject(draining.reason), reject);
            over = () => {
              this.#close();
              resolve();
            };
            draining.addEventListener('abort', drain, { once: true });
            signal.addEventListener('abort', over, { once: true });
            this.#call.on('end', () => void this.#finish().then(resolve, reject));
            this.#call.on('data', (bytes: Buffer) => {
              if (this.#over) return;
              try {
                this.#take(readConsumeRequest(bytes), reject);
              } catch (error) {
                reject(error);
              }
            });
          }),
      );
    } finally {
      draining.removeEventListener('abort', drain);
      signal.removeEventListener('abort', over);
      this.#close();
    }
  }

  /** Throws what must end the stream. */
  #take(frame: Frame, fail: (error: unknown) => void): void {
    if (frame.$case === 'start') {
      if (this.#starting) throw unexpected('the subscription is open already');
      this.#starting = true;
      this.#start(frame.value, fail);
      return;
    }
    if (!this.#starting) throw unexpected('the first frame must be `start`');
    if (this.#consumer) this.#act(this.#consumer, frame);
    else this.#early.push(frame);
    this.#adjust();
  }

  #start(spec: SubscriptionSpec, fail: (error: unknown) => void): void {
    this.#open(spec).then(consumer => {
      consumer?.ended.catch(error => {
        this.#over = true;
        fail(error);
      });
    }, fail);
  }

  async #open(spec: SubscriptionSpec): Promise<Consumer | undefined> {
    const { subscriptions, access, gateway } = this.#host;
    const wanted = parseSpec(spec, 'start');
    const check = (pattern: Pattern): void | Promise<void> =>
      this.#rights.deliver(pattern, () => access.checkSubscribe(this.#node, pattern));
    const { consumer, offset, created } = await subscriptions.consume(wanted, this.#node, this.#out, check);
    if (this.#over) {
      consumer.close();
      return undefined;
    }
    this.#consumer = consumer;
    this.#out.put(openedFrame(gateway, offset, created));
    consumer.onSettled(() => this.#adjust());
    // The writer has one listener, and that is the consumer's.
    this.#out.onDrain(() => {
      this.#adjust();
      consumer.credit(0);
    });
    for (const frame of this.#early.splice(0)) this.#act(consumer, frame);
    this.#adjust();
    return consumer;
  }

  #act(consumer: Consumer, frame: Frame): void {
    if (frame.$case === 'credit') consumer.credit(toCredit(frame.value.records));
    else if (frame.$case === 'ack') consumer.ack(toRanges(frame.value.ranges, 'ack.ranges'), frame.value.ackId);
    else if (frame.$case === 'nack')
      consumer.nack(toRanges(frame.value.ranges, 'nack.ranges'), nackTerms(frame.value, 'nack'));
    else if (frame.$case === 'inProgress') consumer.inProgress(toRanges(frame.value.ranges, 'in_progress.ranges'));
  }

  /** Reads on only while the client reads what it is told, and few enough of its acknowledgements wait for the disk. */
  #adjust(): void {
    const waiting = this.#consumer ? this.#consumer.unsettled > MAX_UNSETTLED_ACKS : this.#early.length > 0;
    const pause = !this.#over && (waiting || !this.#out.writable);
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#call.pause();
    else this.#call.resume();
  }

  async #finish(): Promise<void> {
    this.#over = true;
    await this.#consumer?.finish();
  }

  #close(): void {
    this.#over = true;
    this.#rights.release();
    this.#consumer?.close();
    this.#adjust();
  }
}

const unexpected = (what: string): FedgateError => new FedgateError('FRAME_UNEXPECTED', what);
