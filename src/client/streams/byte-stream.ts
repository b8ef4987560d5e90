import { Duplex } from 'node:stream';
import type { OpenStreamRequest } from '../../../gen/ts/fedgate/messaging/v1/stream_service.js';
import { Backoff } from '../../backoff.js';
import { FedgateError, fieldError } from '../../errors.js';
import type { StreamFrame } from '../../wire/stream-frames.js';
import { Attachment, ENDED_WELL, HALF } from './attachment.js';
import { Receiving } from './receiving.js';
import { Sending } from './sending.js';
import type { StreamChannels } from './stream-channels.js';
import { DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES } from './types.js';

export interface StreamHost {
  readonly channels: StreamChannels;
  /** The streams that are open: closing the client breaks them off. */
  readonly open: Set<ByteStream>;
}

const RETRY = { firstMs: 20, maxMs: 500, factor: 2, random: Math.random };
/** How long the gateway may take to answer an attempt to attach again. */
const ATTACH_MS = 5_000;
const HIGH_WATER_BYTES = 64 * 1024;

/**
 * One end of a byte stream, as a Duplex of Node: `end()` ends what this end writes, and 'end' says that the other one did; 'finish' comes once the other
 * end has everything that was written. It goes on by itself when a connection on the way breaks. It is destroyed with
 * STREAM_RESET when the other end breaks it off, STREAM_LOST when something on the way is away for too long, and with what the gateway refuses
 * with. `destroy()` breaks it off at the other end too.
 */
export class ByteStream extends Duplex {
  /** The other end: its organisation and node, as verified by the gateways. */
  readonly org: string;
  readonly node: string;
  /** To what it was opened. */
  readonly channel: string;
  readonly #host: StreamHost;
  readonly #sending = new Sending();
  readonly #receiving: Receiving;
  readonly #token: Uint8Array;
  readonly #resumeMs: number;
  #attachment: Attachment | undefined;
  #lostMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether this end has given it up. One that Node has destroyed because both directions have ended goes on until the gateway knows so. */
  #brokenOff = false;
  #saidAll = false;
  #forget: () => void = () => undefined;
  /** Resolves when nothing of it is left. */
  readonly #gone = new Promise<void>(resolve => {
    this.#forget = () => {
      this.#host.open.delete(this);
      resolve();
    };
  });

  private constructor(
    host: StreamHost,
    facts: { org: string; node: string; channel: string; token: Uint8Array; resumeMs: number; window: number },
  ) {
    super({ allowHalfOpen: true, readableHighWaterMark: HIGH_WATER_BYTES, writableHighWaterMark: HIGH_WATER_BYTES });
    this.#host = host;
    this.org = facts.org;
    this.node = facts.node;
    this.channel = facts.channel;
    this.#token = facts.token;
    this.#resumeMs = facts.resumeMs;
    this.#receiving = new Receiving(facts.window, {
      take: data => this.push(data),
      ended: () => this.push(null),
    });
    host.open.add(this);
  }

  /** Opens or accepts one. Rejects with what the gateway refuses with. @internal */
  static async begin(
    host: StreamHost,
    first: NonNullable<OpenStreamRequest['frame']>,
    facts: {
      readonly channel: string;
      readonly window?: number | undefined;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<ByteStream> {
    const { channel, window = DEFAULT_WINDOW_BYTES, signal } = facts;
    if (!Number.isInteger(window) || window < 1 || window > MAX_WINDOW_BYTES)
      throw fieldError('window', `must be a whole number from 1 to ${MAX_WINDOW_BYTES}`);
    let stream: ByteStream | undefined;
    const early: StreamFrame[] = [];
    const attachment: Attachment = new Attachment(host.channels, first, {
      frame: frame => {
        if (stream) stream.#take(frame);
        else early.push(frame);
      },
      drained: () => {
        if (stream) stream.#pump();
      },
      over: error => {
        if (stream) stream.#detached(attachment, error);
      },
    });
    const abort = (): void => attachment.reset('whoever opened it gave up');
    const gaveUp = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(new FedgateError('CANCELLED', 'the caller gave up')), {
        once: true,
      });
    });
    gaveUp.catch(() => undefined);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      if (signal?.aborted) throw new FedgateError('CANCELLED', 'the caller gave up');
      const { org, node, token, resumeMs } = await Promise.race([attachment.complete(), gaveUp]);
      stream = new ByteStream(host, { org, node, token, resumeMs, channel, window });
      stream.#attached(attachment, early);
      if (signal) stream.#breakOffWith(signal);
      return stream;
    } catch (error) {
      attachment.cancel();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Bytes that the other end has said it has. */
  get bytesAcknowledged(): number {
    return this.#sending.received;
  }

  /** Whether it is joined to the gateway at the moment. */
  get attached(): boolean {
    return this.#attachment !== undefined;
  }

  /**
   * Resolves when what this end has ended is at the other one, and the other one knows what has come here if it has ended too; or the stream is
   * over. At once unless this end has called `end()`. @internal
   */
  async settled(): Promise<void> {
    if (!this.writableEnded) return;
    if (!this.writableFinished && !this.destroyed)
      await new Promise<void>(resolve => this.once('finish', resolve).once('close', resolve));
    if (this.#receiving.complete) await this.#gone;
  }

  /** Breaks it off, whatever is still to be said. @internal */
  abandon(error: FedgateError): void {
    if (this.destroyed) this.#breakOff(error);
    else this.destroy(error);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, taken: () => void): void {
    this.#sending.write(chunk, taken);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#sending.end(() => {
      done();
      this.#leave();
    });
  }

  override _read(): void {
    this.#receiving.read();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // What is left to say, that all has come, goes out by itself.
    if (error || !this.#isComplete) this.#breakOff(error);
    done(error);
  }

  #breakOff(error: Error | null): void {
    clearTimeout(this.#timer);
    const attachment = this.#attachment;
    this.#brokenOff = true;
    this.#attachment = undefined;
    this.#forget();
    attachment?.reset(messageOf(error));
  }

  /** Whether all that was written is at the other end, and all that it wrote here. */
  get #isComplete(): boolean {
    return this.#sending.done && this.#receiving.complete;
  }

  get #isDone(): boolean {
    return this.#sending.done && this.#receiving.done;
  }

  #breakOffWith(signal: AbortSignal): void {
    const abort = (): void => void this.destroy(new FedgateError('CANCELLED', 'the stream was given up'));
    signal.addEventListener('abort', abort, { once: true });
    this.once('close', () => signal.removeEventListener('abort', abort));
  }

  /** `early`: what came on it before. It may have ended by now, too. */
  #attached(attachment: Attachment, early: readonly StreamFrame[]): void {
    this.#attachment = attachment;
    this.#lostMs = undefined;
    this.#sending.attach(attachment.sending);
    this.#receiving.attach(attachment.receiving);
    for (const frame of early) this.#take(frame);
    if (attachment.ended) this.#detached(attachment, attachment.ended.error);
  }

  #take(frame: StreamFrame): void {
    if (this.#brokenOff) return;
    try {
      if (frame.kind === 'data') this.#receiving.data(frame);
      else if (frame.kind === 'credit') this.#sending.credit(frame);
      else if (frame.kind === 'end') this.#receiving.end(frame);
      else if (frame.kind === 'from') this.#receiving.from(frame);
      else this.#receiving.ask();
    } catch (error) {
      this.destroy(error as FedgateError);
    }
    this.#leave();
  }

  #pump(): void {
    this.#sending.pump();
    this.#receiving.pump();
    this.#leave();
  }

  /** All was said and heard: the gateway ends the calls once it knows so. */
  #leave(): void {
    if (!this.#isDone || this.#saidAll) return;
    this.#saidAll = true;
    this.#attachment?.end();
  }

  /** The calls are over: by the gateway's word, or because a connection broke. */
  #detached(attachment: Attachment, error: FedgateError | undefined): void {
    if (this.#attachment !== attachment) return;
    this.#attachment = undefined;
    this.#sending.attach(undefined);
    this.#receiving.attach(undefined);
    this.#saidAll = false;
    if (!error) return this.#endedWell();
    if (!canGoOn(error)) return this.#lose(error);
    this.#lostMs ??= performance.now();
    void this.#resume(error);
  }

  /** The gateway says that all has arrived both ways. */
  #endedWell(): void {
    if (this.#receiving.complete && this.#sending.finish()) this.#forget();
    else this.destroy(new FedgateError('STREAM_LOST', 'the stream was ended before all had arrived'));
  }

  /** It does not go on. One of which all is where it belongs has only lost who wanted to know that. */
  #lose(error: FedgateError): void {
    if (this.#isComplete) this.#forget();
    else this.destroy(error);
  }

  async #resume(cause: FedgateError): Promise<void> {
    const backoff = new Backoff(RETRY);
    let last = cause;
    const giveUpMs = (this.#lostMs ?? performance.now()) + this.#resumeMs;
    while (!this.#brokenOff) {
      if (performance.now() >= giveUpMs)
        return this.#lose(
          new FedgateError('STREAM_LOST', `the gateway was away for ${this.#resumeMs / 1000} s: ${last.message}`, {
            cause: last,
          }),
        );
      await new Promise<void>(resolve => {
        this.#timer = setTimeout(resolve, backoff.next());
      });
      if (this.#brokenOff) return;
      try {
        return await this.#attachAgain();
      } catch (error) {
        if (error === ENDED_WELL) return this.#endedWell();
        last = error as FedgateError;
        if (!canGoOn(last)) return this.#lose(asLost(last));
      }
    }
  }

  async #attachAgain(): Promise<void> {
    let early: StreamFrame[] | undefined = [];
    const attachment: Attachment = new Attachment(
      this.#host.channels,
      { $case: 'resume', value: { token: this.#token, half: HALF.send } },
      {
        frame: frame => (early ? early.push(frame) : this.#take(frame)),
        drained: () => this.#pump(),
        over: error => this.#detached(attachment, error),
      },
    );
    const late = setTimeout(() => attachment.expire(), ATTACH_MS);
    try {
      await attachment.complete();
    } finally {
      clearTimeout(late);
    }
    if (this.#brokenOff) return attachment.reset(messageOf(null));
    const frames = early;
    early = undefined;
    this.#attached(attachment, frames);
  }
}

const messageOf = (error: Error | null): string => (error ? error.message : 'the other end closed it').slice(0, 256);

/** Whether what ended a call is a connection, and not the stream. */
const canGoOn = ({ reason }: FedgateError): boolean =>
  reason === 'GATEWAY_UNREACHABLE' || reason === 'CANCELLED' || reason === 'PEER_UNREACHABLE';

/** A gateway that does not know the stream was started anew. */
const asLost = (error: FedgateError): FedgateError =>
  error.reason === 'STREAM_UNKNOWN' || error.reason === 'DRAINING'
    ? new FedgateError('STREAM_LOST', 'the gateway was started anew, or gave the stream up', { cause: error })
    : error;
