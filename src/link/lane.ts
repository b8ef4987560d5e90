import { LaneFrame } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import { FrameWriter } from '../transport/frame-writer.js';
import { encodeLaneFrame, openLaneFrame, type SealedBatch } from '../wire/lane-frames.js';
import type { FileChunk } from '../wire/piece-frames.js';
import { malformed } from '../wire/reader.js';
import type { LaneStreamData } from '../wire/stream-frames.js';
import type { SealedPost } from '../wire/topic-frames.js';

export type Frame = NonNullable<LaneFrame['frame']>;

/** A received frame: a batch or a post still encoded, a chunk of a file or bytes of a stream as a view, or any other kind decoded. */
export type IncomingFrame =
  | { readonly $case: 'sealed'; readonly value: SealedBatch }
  | { readonly $case: 'chunk'; readonly value: FileChunk }
  | { readonly $case: 'post'; readonly value: SealedPost }
  | { readonly $case: 'streamBytes'; readonly value: LaneStreamData }
  | Exclude<Frame, { $case: 'batch' | 'fileData' | 'topicPost' | 'streamData' }>;

/** What a lane uses of grpc-js's two kinds of bidirectional stream. */
export interface LaneCall {
  write(frame: Buffer): boolean;
  pause(): unknown;
  resume(): unknown;
  once(event: 'drain', listener: () => void): unknown;
  on(event: 'data', listener: (bytes: Buffer) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

export const encodeFrame = (frame: Frame): Buffer => encodeLaneFrame(LaneFrame.encode({ frame }).finish());

type OpaqueCase = 'batch' | 'fileData' | 'topicPost' | 'streamData';
const OPAQUE: ReadonlySet<string> = new Set<OpaqueCase>(['batch', 'fileData', 'topicPost', 'streamData']);

/** Whether a frame is of a kind that is read without being decoded, and nowhere else. */
const isOpaque = (frame: Frame): frame is Extract<Frame, { $case: OpaqueCase }> => OPAQUE.has(frame.$case);

function readFrame(bytes: Buffer): IncomingFrame {
  const opened = openLaneFrame(bytes);
  if ('batch' in opened) return { $case: 'sealed', value: opened.batch };
  if ('fileData' in opened) return { $case: 'chunk', value: opened.fileData };
  if ('topicPost' in opened) return { $case: 'post', value: opened.topicPost };
  if ('streamData' in opened) return { $case: 'streamBytes', value: opened.streamData };
  try {
    const { frame } = LaneFrame.decode(opened.other);
    if (frame && !isOpaque(frame)) return frame;
  } catch {
    throw malformed('a lane frame');
  }
  throw malformed('a lane frame of a kind that is not known');
}

/**
 * One lane: frames both ways over one call, the same whichever side dialled.
 *
 * The first frame is awaited with `first`; from then on frames go to the listener given to `listen`, in order. Whatever the listener
 * throws ends the lane. `closed` fires once, with the reason.
 */
export class Lane {
  readonly out: FrameWriter<Buffer>;
  /** When the last frame came in, by the monotonic clock, milliseconds. */
  lastHeardMs = performance.now();
  /** Lets no more than so many bytes be on the way towards us, on the side that was dialled: the dialler chooses when it dials. */
  readonly narrow: (bytes: number) => void;
  readonly #call: LaneCall;
  readonly #ended = new AbortController();
  #listener: ((frame: IncomingFrame) => void) | undefined;
  #first: { resolve(frame: IncomingFrame): void; reject(error: unknown): void } | undefined;
  #early: IncomingFrame | undefined;

  /** `narrow`: lets no more than so many bytes be on the way towards us. */
  constructor(call: LaneCall, narrow: (bytes: number) => void = () => undefined) {
    this.#call = call;
    this.narrow = narrow;
    this.out = new FrameWriter(call, this.#ended.signal);
    call.on('data', bytes => this.#receive(bytes));
    call.on('end', () => this.close(new FedgateError('PEER_UNREACHABLE', 'the other side ended the lane')));
  }

  /** Fires when the lane is over; its reason is the error. */
  get closed(): AbortSignal {
    return this.#ended.signal;
  }

  get reason(): FedgateError {
    const { reason } = this.#ended.signal;
    return reason instanceof FedgateError ? reason : new FedgateError('PEER_UNREACHABLE', 'the lane is over');
  }

  /** Waits for the first frame of the other side. Throws PEER_UNREACHABLE after `timeoutMs`, or what ended the lane. */
  async first(timeoutMs: number): Promise<IncomingFrame> {
    if (this.#early) return this.#early;
    if (this.#ended.signal.aborted) throw this.reason;
    let timer: NodeJS.Timeout | undefined;
    const onClosed = (): void => this.#first?.reject(this.reason);
    try {
      return await new Promise<IncomingFrame>((resolve, reject) => {
        this.#first = { resolve, reject };
        timer = setTimeout(
          () => reject(new FedgateError('PEER_UNREACHABLE', `no hello within ${timeoutMs / 1000} s`)),
          timeoutMs,
        );
        this.#ended.signal.addEventListener('abort', onClosed, { once: true });
      });
    } finally {
      clearTimeout(timer);
      this.#ended.signal.removeEventListener('abort', onClosed);
      this.#first = undefined;
    }
  }

  /** Gives all further frames to the listener. */
  listen(listener: (frame: IncomingFrame) => void): void {
    this.#listener = listener;
    this.#call.resume();
  }

  put(frame: Frame): void {
    this.out.put(encodeFrame(frame));
  }

  /** As `put`, once the lane takes frames. Throws CANCELLED when it is over. */
  sendWhenReady(frame: Frame): Promise<void> {
    return this.out.send(encodeFrame(frame));
  }

  /** Ends the lane from this side. The first reason stays. */
  close(reason: FedgateError): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
  }

  /** Between the first frame and `listen` nothing is read, so that no frame is lost and none piles up. */
  #receive(bytes: Buffer): void {
    if (this.#ended.signal.aborted) return;
    this.lastHeardMs = performance.now();
    try {
      const frame = readFrame(bytes);
      if (this.#listener) this.#listener(frame);
      else this.#receiveFirst(frame);
    } catch (error) {
      this.close(
        error instanceof FedgateError ? error : new FedgateError('INTERNAL', 'internal error', { cause: error }),
      );
    }
  }

  #receiveFirst(frame: IncomingFrame): void {
    if (this.#early) throw new FedgateError('FRAME_UNEXPECTED', 'a frame came before the hello was answered');
    this.#early = frame;
    this.#call.pause();
    this.#first?.resolve(frame);
  }
}
