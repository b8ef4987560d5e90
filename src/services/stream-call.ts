import type { ServerDuplexStream } from '@grpc/grpc-js';
import { OpenStreamRequest, OpenStreamResponse } from '../../gen/ts/fedgate/messaging/v1/stream_service.js';
import { FedgateError, fieldError } from '../errors.js';
import type { EndCall, Half, NodeEnd } from '../streams/node-end.js';
import type { CallingNode, Streams } from '../streams/streams.js';
import { unexpected } from '../streams/terms.js';
import { Turns } from '../streams/turns.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { malformed } from '../wire/reader.js';
import { encodeNodeStreamFrame, readNodeStreamData, type StreamFrame } from '../wire/stream-frames.js';

type Frame = NonNullable<OpenStreamRequest['frame']>;

const HALVES: readonly Half[] = ['both', 'send', 'receive'];
const MAX_MESSAGE_BYTES = 1024;

/** How long a call may take to say what it is for. */
const FIRST_FRAME_MS = 10_000;

export interface StreamCallHost {
  readonly streams: Streams;
  readonly draining: AbortSignal;
}

/** One OpenStream call: an end of a stream, or half of one. */
export class StreamCall {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #out: FrameWriter<Buffer>;
  readonly #node: CallingNode;
  readonly #host: StreamCallHost;
  readonly #turns: Turns;
  #end: NodeEnd | undefined;
  #attached: EndCall | undefined;
  #finish: (error: Error | undefined) => void = () => undefined;

  constructor(
    call: ServerDuplexStream<Buffer, Buffer>,
    out: FrameWriter<Buffer>,
    node: CallingNode,
    host: StreamCallHost,
  ) {
    this.#call = call;
    this.#out = out;
    this.#node = node;
    this.#host = host;
    this.#turns = new Turns(out);
    out.onDrain(() => this.#turns.pump());
  }

  /** Resolves when the stream ended as it should; rejects with what the call is to end with. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#host.draining.aborted) throw this.#host.draining.reason;
    const late = setTimeout(
      () => this.#finish(new FedgateError('DEADLINE_EXCEEDED', 'no first frame came')),
      FIRST_FRAME_MS,
    );
    const gone = (): void => this.#finish(undefined);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#finish = error => (error ? reject(error) : resolve());
        signal.addEventListener('abort', gone, { once: true });
        this.#call.on('end', () => this.#halfClosed());
        this.#call.on('data', (bytes: Buffer) => {
          try {
            this.#take(bytes);
            if (this.#end) clearTimeout(late);
          } catch (error) {
            // First: what ends the stream ends this call too, and here it is told how.
            reject(error);
            this.#broke(error);
          }
        });
      });
    } finally {
      clearTimeout(late);
      signal.removeEventListener('abort', gone);
      if (this.#attached) this.#end?.left(this.#attached, `node ${this.#node.name} lost its connection`);
    }
  }

  #take(bytes: Buffer): void {
    const frame = readNodeStreamData(bytes) ?? this.#read(decodeFrame(bytes));
    if (!frame) return;
    if (!this.#end || !this.#attached) throw unexpected('the first frame must be `open`, `accept` or `resume`');
    this.#end.take(this.#attached, frame);
  }

  /** A frame that is not data; undefined: it is done with. */
  #read(frame: Frame): StreamFrame | undefined {
    if (frame.$case === 'credit') {
      const { limit, received, ended, round } = frame.value;
      return { kind: 'credit', limit: Number(limit), received: Number(received), ended, round };
    }
    if (frame.$case === 'end') return { kind: 'end', offset: Number(frame.value.offset) };
    if (frame.$case === 'from') return { kind: 'from', round: frame.value.round, offset: Number(frame.value.offset) };
    if (frame.$case === 'reset') this.#reset(frame.value.message);
    else if (frame.$case !== 'data') this.#begin(frame);
    return undefined;
  }

  #begin(frame: Extract<Frame, { $case: 'open' | 'accept' | 'resume' }>): void {
    if (this.#attached) throw unexpected('a call is of one stream only');
    const half = HALVES[frame.value.half];
    if (!half) throw fieldError('half', 'is not known');
    const { streams } = this.#host;
    const call = this.#asEndCall(half);
    // Set first: what is opened here may be accepted, or refused, before the call returns.
    this.#attached = call;
    try {
      if (frame.$case === 'open') streams.open(this.#node, frame.value, call, end => (this.#end = end));
      else {
        const token = Buffer.from(frame.value.token).toString('hex');
        const attach = frame.$case === 'accept' ? streams.accept : streams.resume;
        attach.call(streams, this.#node, token, call, end => (this.#end = end));
      }
    } catch (error) {
      if (!this.#end) this.#attached = undefined;
      throw error;
    }
  }

  #asEndCall(half: Half): EndCall {
    return {
      half,
      track: { turns: this.#turns, encode: encodeNodeStreamFrame },
      opened: end => this.#out.put(openedFrame(end)),
      finish: error => this.#finish(error),
    };
  }

  #reset(message: string): void {
    const { name } = this.#node;
    if (Buffer.byteLength(message) > MAX_MESSAGE_BYTES)
      throw fieldError('reset.message', `is over ${MAX_MESSAGE_BYTES} bytes`);
    if (!this.#end || !this.#attached) throw unexpected('there is nothing to reset');
    const error = new FedgateError('STREAM_RESET', message || `node ${name} broke the stream off`, {
      metadata: { node: name },
    });
    this.#finish(undefined);
    this.#end.reset(this.#attached, error);
  }

  /** The node broke the rules: it hears how, and the other end that it did. */
  #broke(error: unknown): void {
    if (!this.#end || !this.#attached || !(error instanceof FedgateError)) return;
    const { name } = this.#node;
    const metadata = { node: name, reason: error.reason };
    this.#end.reset(this.#attached, new FedgateError('STREAM_RESET', `node ${name} broke the rules`, { metadata }));
  }

  #halfClosed(): void {
    // It comes when a connection breaks, too: bytes end with a frame of their own.
    if (!this.#attached) this.#finish(unexpected('the call ended before its first frame'));
  }
}

function decodeFrame(bytes: Buffer): Frame {
  try {
    const { frame } = OpenStreamRequest.decode(bytes);
    if (frame) return frame;
  } catch {
    throw malformed('an OpenStreamRequest');
  }
  throw malformed('an OpenStreamRequest of a kind that is not known');
}

function openedFrame({ token, relay, side }: NodeEnd): Buffer {
  const { opener, acceptorOrg, resumeMs, id } = relay.facts;
  const other = side === 0 ? { org: acceptorOrg, node: relay.acceptor } : opener;
  const opened = { token: Buffer.from(token, 'hex'), org: other.org, node: other.node, resumeMs, streamId: BigInt(id) };
  return Buffer.from(OpenStreamResponse.encode({ frame: { $case: 'opened', value: opened } }).finish());
}
