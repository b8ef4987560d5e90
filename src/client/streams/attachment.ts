import type { Client, ClientDuplexStream } from '@grpc/grpc-js';
import {
  OpenStreamRequest,
  OpenStreamResponse,
  StreamServiceService,
} from '../../../gen/ts/fedgate/messaging/v1/stream_service.js';
import { FedgateError } from '../../errors.js';
import { FrameWriter } from '../../transport/frame-writer.js';
import { fromGrpcError } from '../../transport/status.js';
import { encodeNodeStreamFrame, readNodeStreamData, type StreamFrame } from '../../wire/stream-frames.js';
import type { StreamOut } from './sending.js';
import type { ChannelPair, StreamChannels } from './stream-channels.js';

type Frame = NonNullable<OpenStreamRequest['frame']>;
type Opened = Extract<NonNullable<OpenStreamResponse['frame']>, { $case: 'opened' }>['value'];

export interface AttachmentEvents {
  frame(frame: StreamFrame): void;
  /** More can be written. */
  drained(): void;
  /** The calls are over; undefined: the gateway says that the stream ended as it should. */
  over(error: FedgateError | undefined): void;
}

export const HALF = { send: 1, receive: 2 } as const;
/** The gateway says that all has arrived both ways, and that the stream is over. */
export const ENDED_WELL = new FedgateError('STREAM_LOST', 'the stream is over');
/** How long the half that the gateway knows nothing of waits for the other one to hear why. */
export const WHY_MS = 1_000;
const same = (bytes: Buffer): Buffer => bytes;

/** One call of an end: a half of it. */
class HalfCall implements StreamOut {
  readonly opened: Promise<Opened>;
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #ended = new AbortController();
  readonly #out: FrameWriter<Buffer>;
  #refuse: (error: FedgateError) => void = () => undefined;

  constructor(channel: Client, first: Frame, events: AttachmentEvents) {
    const { path } = StreamServiceService.openStream;
    const call = channel.makeBidiStreamRequest<Buffer, Buffer>(path, same, same);
    this.#call = call;
    this.#out = new FrameWriter(call, this.#ended.signal);
    this.#out.onDrain(() => {
      if (!this.#ended.signal.aborted) events.drained();
    });
    this.opened = new Promise((resolve, reject) => {
      this.#refuse = reject;
      const over = (error: FedgateError | undefined): void => {
        if (this.#ended.signal.aborted) return;
        this.#ended.abort();
        reject(error ?? ENDED_WELL);
        events.over(error);
      };
      call.on('data', (bytes: Buffer) => {
        if (this.#ended.signal.aborted) return;
        try {
          const frame = readNodeStreamData(bytes) ?? readFrame(bytes);
          if (frame && 'token' in frame) resolve(frame);
          else if (frame) events.frame(frame);
        } catch (error) {
          over(error as FedgateError);
          call.cancel();
        }
      });
      call.on('error', error => over(fromGrpcError(error)));
      call.on('end', () => over(undefined));
    });
    this.opened.catch(() => undefined);
    this.#out.put(Buffer.from(OpenStreamRequest.encode({ frame: first }).finish()));
  }

  get writable(): boolean {
    return this.#out.writable;
  }

  put(frame: StreamFrame): void {
    this.#out.put(encodeNodeStreamFrame(frame));
  }

  /** Breaks the stream off; `heard` is called when the gateway has heard it, or cannot any more. */
  reset(message: string, heard: () => void): void {
    this.#call.once('close', heard).once('error', heard).once('end', heard);
    this.#out.put(Buffer.from(OpenStreamRequest.encode({ frame: { $case: 'reset', value: { message } } }).finish()));
    this.#ended.abort();
    this.#call.end();
  }

  /** Hears nothing more, and leaves the call as it is. */
  ignore(): void {
    this.#ended.abort();
  }

  /** Says no more, and hears what still comes. */
  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#ended.abort();
    this.#refuse(new FedgateError('GATEWAY_UNREACHABLE', 'the gateway did not answer in time'));
    this.#call.cancel();
  }
}

function readFrame(bytes: Buffer): StreamFrame | Opened | undefined {
  const { frame } = OpenStreamResponse.decode(bytes);
  if (frame?.$case === 'opened') return frame.value;
  if (frame?.$case === 'ask') return { kind: 'ask' };
  if (frame?.$case === 'end') return { kind: 'end', offset: Number(frame.value.offset) };
  if (frame?.$case === 'from') return { kind: 'from', round: frame.value.round, offset: Number(frame.value.offset) };
  if (frame?.$case !== 'credit') return undefined;
  const { limit, received, ended, round } = frame.value;
  return { kind: 'credit', limit: Number(limit), received: Number(received), ended, round };
}

/** What joins an end to its gateway for a while: a call for each half. It is over as a whole when one of them is. */
export class Attachment {
  readonly sending: HalfCall;
  receiving: HalfCall | undefined;
  readonly #channels: StreamChannels;
  readonly #pair: ChannelPair;
  readonly #events: AttachmentEvents;
  #over = false;
  #late: NodeJS.Timeout | undefined;
  /** What the calls ended with, once they have; its error is undefined when the gateway says that the stream ended as it should. */
  ended: { readonly error: FedgateError | undefined } | undefined;

  /** `first` opens, accepts or resumes, with the half that sends. */
  constructor(channels: StreamChannels, first: Frame, events: AttachmentEvents) {
    this.#channels = channels;
    this.#events = {
      frame: frame => {
        if (!this.#over) events.frame(frame);
      },
      drained: () => events.drained(),
      over: error => this.#end(error, events),
    };
    this.#pair = channels.pair;
    this.sending = new HalfCall(this.#pair.outgoing, first, this.#events);
  }

  /** It took too long: what it goes over is taken for broken. */
  expire(): void {
    this.#end(new FedgateError('GATEWAY_UNREACHABLE', 'the gateway did not answer'), this.#events);
  }

  /** Brings the other half. What the gateway said of the stream. Rejects with what the calls ended with. */
  async complete(): Promise<Opened> {
    const opened = await this.sending.opened;
    if (this.ended) throw this.ended.error ?? ENDED_WELL;
    if (this.#over) throw new FedgateError('CANCELLED', 'it is over');
    const resume: Frame = { $case: 'resume', value: { token: opened.token, half: HALF.receive } };
    this.receiving = new HalfCall(this.#pair.incoming, resume, {
      ...this.#events,
      over: error => this.#halfOver(error),
    });
    return opened;
  }

  /** The half that receives came too late when the stream was over by then: why, the other half is told. */
  #halfOver(error: FedgateError | undefined): void {
    if (error?.reason !== 'STREAM_UNKNOWN') return this.#events.over(error);
    this.#late = setTimeout(() => this.#events.over(error), WHY_MS);
  }

  /** Breaks the stream off. */
  reset(message: string): void {
    clearTimeout(this.#late);
    this.#over = true;
    const { receiving } = this;
    receiving?.ignore();
    // Not before: the gateway would take it for a broken connection.
    this.sending.reset(message, () => receiving?.cancel());
  }

  /** There is nothing more to say. */
  end(): void {
    this.sending.end();
    this.receiving?.end();
  }

  cancel(): void {
    clearTimeout(this.#late);
    this.#over = true;
    this.sending.cancel();
    this.receiving?.cancel();
  }

  #end(error: FedgateError | undefined, events: AttachmentEvents): void {
    if (this.#over) return;
    this.ended = { error };
    this.cancel();
    if (error?.reason === 'GATEWAY_UNREACHABLE') this.#channels.broken(this.#pair);
    events.over(error);
  }
}
