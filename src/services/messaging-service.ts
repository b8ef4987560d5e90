import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import {
  MessagingServiceService,
  type OrgResult,
  type PublishResponse,
  type PublishResult,
  type PublishStreamResponse,
  SubscribeRequest,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { parsePattern } from '../messaging/address.js';
import type { OneOutcome, SeveralOutcome } from '../messaging/broadcast.js';
import { inboxNumber } from '../messaging/inbox.js';
import { FrameJoins } from '../messaging/live-frame.js';
import { LiveSubscription, noticeFrame, type SubscriptionLimits } from '../messaging/live-subscription.js';
import type { AckLevel, DurableOutcome, LiveOutcome, Publisher, PublishOutcome } from '../messaging/publisher.js';
import type { Router } from '../messaging/router.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { toRpcStatus } from '../transport/status.js';
import { type PublishFrame, readPublishRequest, readPublishStreamRequest } from '../wire/messaging-frames.js';
import { malformed } from '../wire/reader.js';
import { type ConsumeHost, consumeDefinition, consumeHandlers } from './consume-service.js';
import { StreamRights } from './stream-rights.js';

export interface MessagingHost extends ConsumeHost {
  readonly publisher: Publisher;
  readonly router: Router;
  readonly limits: SubscriptionLimits & { readonly subscriptionsPerNode: number };
}

/** Bytes of frames that a client may have unanswered before the gateway stops reading its stream. */
export const MAX_UNANSWERED_BYTES = 8 * 1024 * 1024;
/** The same in frames: a frame of ten bytes costs far more than ten bytes while it waits. */
export const MAX_UNANSWERED_FRAMES = 16_384;

const untouched = (bytes: Buffer): Buffer => bytes;

/** The service with the frames of the hot path left as bytes in both directions. */
export const messagingDefinition: ServiceDefinition = {
  publish: { ...MessagingServiceService.publish, requestDeserialize: untouched },
  publishStream: { ...MessagingServiceService.publishStream, requestDeserialize: untouched },
  subscribe: { ...MessagingServiceService.subscribe, requestDeserialize: untouched, responseSerialize: untouched },
  ...consumeDefinition,
} as ServiceDefinition;

export function messagingService(
  wrapper: CallWrapper<{ readonly name: string }>,
  host: MessagingHost,
): Handlers<typeof MessagingServiceService> {
  type Context = CallContext<{ readonly name: string }>;
  const perNode = new Map<string, number>();
  const joins = new FrameJoins();
  return {
    publish: wrapper.unary(async (bytes: Buffer, { caller }: Context): Promise<PublishResponse> => {
      const outcome = await host.publisher.publish(caller.name, readPublishRequest(bytes));
      return { result: toResult(outcome) };
    }),
    publishStream: wrapper.bidi((call: ServerDuplexStream<Buffer, PublishStreamResponse>, out, context: Context) =>
      new PublishStreamSession(call, out, context.caller.name, host.publisher).run(context, host.draining),
    ),
    subscribe: wrapper.serverStream(
      async (bytes: Buffer, out: FrameWriter<Buffer>, { caller, signal, end }: Context) => {
        const pattern = parsePattern(decodeSubscribe(bytes).pattern);
        host.access.checkSubscribe(caller.name, pattern);
        const open = perNode.get(caller.name) ?? 0;
        if (open >= host.limits.subscriptionsPerNode) {
          throw new FedgateError('LIMIT_REACHED', `node ${caller.name} has ${open} subscriptions open`, {
            metadata: { limit: 'subscriptions per node' },
          });
        }
        perNode.set(caller.name, open + 1);
        const subscription = new LiveSubscription({
          ...{ node: caller.name, pattern, sink: out, limits: host.limits, joins },
          nowMs: Date.now(),
        });
        const rights = new StreamRights(host, caller.name, end);
        try {
          const allowed = rights.deliver(pattern, () => host.access.checkSubscribe(caller.name, pattern));
          if (allowed !== undefined) await allowed;
          host.router.add(subscription);
          out.put(noticeFrame({ $case: 'opened', value: { gateway: host.gateway } }));
          await ended(signal, host.draining);
        } finally {
          rights.release();
          // One that was refused was never there.
          if (host.router.subscriptions.has(subscription)) host.router.remove(subscription);
          const left = (perNode.get(caller.name) ?? 1) - 1;
          if (left > 0) perNode.set(caller.name, left);
          else perNode.delete(caller.name);
        }
      },
    ),
    ...consumeHandlers(wrapper, host),
  };
}

function decodeSubscribe(bytes: Buffer): SubscribeRequest {
  try {
    return SubscribeRequest.decode(bytes);
  } catch {
    throw malformed('a SubscribeRequest');
  }
}

/** Resolves when the call is over; rejects when the gateway ends it. */
function ended(call: AbortSignal, draining: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const drain = (): void => reject(draining.reason);
    if (draining.aborted) return drain();
    draining.addEventListener('abort', drain, { once: true });
    const over = (): void => {
      draining.removeEventListener('abort', drain);
      resolve();
    };
    if (call.aborted) over();
    else call.addEventListener('abort', over, { once: true });
  });
}

const LEVELS: { readonly [level in AckLevel]: 1 | 2 | 3 } = { stored: 1, received: 2, consumed: 3 };

const toResult = (outcome: PublishOutcome): PublishResult =>
  'orgs' in outcome ? toResultOfSeveral(outcome) : toResultOfOne(outcome);

const NO_ORGS: PublishResult['orgs'] = [];

const toResultOfOne = (outcome: OneOutcome): PublishResult => ({
  side: outcome.side === 'local' ? 1 : 2,
  org: outcome.org,
  inbox: inboxNumber(outcome.inbox),
  orgs: NO_ORGS,
  ...(outcome.level === undefined ? liveFacts(outcome) : durableFacts(outcome)),
});

/** The parts, and above them what holds for all that took the records. */
function toResultOfSeveral({ orgs }: SeveralOutcome): PublishResult {
  const entries = orgs.map(({ org, outcome, error }): OrgResult => {
    if (outcome) return { org, outcome: { $case: 'result', value: toResultOfOne(outcome) } };
    return { org, outcome: { $case: 'error', value: toRpcStatus(error) } };
  });
  const taken = entries.flatMap(({ outcome }) => (outcome?.$case === 'result' ? [outcome.value] : []));
  return {
    side: 2,
    org: '',
    subscribers: taken.reduce((sum, { subscribers }) => sum + subscribers, 0),
    dropped: taken.reduce((sum, { dropped }) => sum + dropped, 0),
    level: lowest(taken.map(({ level }) => level)),
    duplicate: taken.length === entries.length && taken.length > 0 && taken.every(({ duplicate }) => duplicate),
    streamEpoch: 0n,
    sequence: 0n,
    inbox: 0,
    orgs: entries,
  };
}

/** Of those that are stored; 0: none is. */
const lowest = (levels: readonly PublishResult['level'][]): PublishResult['level'] =>
  levels.reduce((low, level) => (low === 0 || (level !== 0 && level < low) ? level : low), 0);

const liveFacts = ({ subscribers, dropped }: LiveOutcome) => ({
  subscribers,
  dropped,
  level: 0 as const,
  duplicate: false,
  streamEpoch: 0n,
  sequence: 0n,
});

const durableFacts = ({ level, duplicate, streamEpoch, sequence }: DurableOutcome) => ({
  subscribers: 0,
  dropped: 0,
  level: LEVELS[level],
  duplicate,
  streamEpoch,
  sequence: BigInt(sequence),
});

/** What a frame counts for while it is unanswered. */
interface Cost {
  readonly bytes: number;
  /** Organisations that it goes to. */
  readonly width: number;
}

/** One PublishStream call: reads frames while few enough are unanswered, and answers each when its fate is known. */
class PublishStreamSession {
  readonly #call: ServerDuplexStream<Buffer, PublishStreamResponse>;
  readonly #out: FrameWriter<PublishStreamResponse>;
  readonly #node: string;
  readonly #publisher: Publisher;
  #unansweredBytes = 0;
  #unanswered = 0;
  #lastFrameId = 0;
  #halfClosed = false;
  #paused = false;
  #draining = false;
  #failed = false;
  #finish: (() => void) | undefined;

  constructor(
    call: ServerDuplexStream<Buffer, PublishStreamResponse>,
    out: FrameWriter<PublishStreamResponse>,
    node: string,
    publisher: Publisher,
  ) {
    this.#call = call;
    this.#out = out;
    this.#node = node;
    this.#publisher = publisher;
  }

  run({ signal, beforeEnd }: Pick<CallContext, 'signal' | 'beforeEnd'>, draining: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      let why: unknown;
      this.#finish = () => {
        if (this.#unanswered > 0) return;
        if (this.#halfClosed) resolve();
        else if (this.#draining) reject(why);
      };
      // A stream that is to end reads nothing new and answers what it has read: when the gateway stops, or the caller may go on no more.
      const finish = (reason: unknown): void => {
        why ??= reason;
        this.#draining = true;
        this.#adjust();
        this.#finish?.();
      };
      const drain = (): void => finish(draining.reason);
      if (draining.aborted) return drain();
      draining.addEventListener('abort', drain, { once: true });
      beforeEnd(finish);
      const over = (): void => {
        draining.removeEventListener('abort', drain);
        resolve();
      };
      signal.addEventListener('abort', over, { once: true });
      this.#out.onDrain(() => this.#adjust());
      this.#call.on('end', () => {
        this.#halfClosed = true;
        this.#finish?.();
      });
      this.#call.on('data', (bytes: Buffer) => {
        // What stands behind a frame that ended the stream is not published.
        if (this.#failed) return;
        try {
          this.#take(bytes);
        } catch (error) {
          this.#failed = true;
          reject(error);
        }
      });
    });
  }

  /** Throws what must end the stream: bytes that are no frame. What is wrong with a readable frame is its answer. */
  #take(bytes: Buffer): void {
    const frame = readPublishStreamRequest(bytes);
    if (frame.frameId <= this.#lastFrameId)
      throw fieldError('frame_id', `is ${frame.frameId} after ${this.#lastFrameId}; it must rise`);
    if (frame.address === '') throw fieldError('address', 'is empty');
    this.#lastFrameId = frame.frameId;
    // One for several organisations is as much work, and memory, as one for each.
    const width = this.#publisher.widthOf(frame.address);
    this.#unanswered += width;
    this.#unansweredBytes += bytes.length;
    this.#publish(frame, { bytes: bytes.length, width });
    this.#adjust();
  }

  #publish(frame: PublishFrame, cost: Cost): void {
    const { frameId } = frame;
    try {
      const outcome = this.#publisher.publish(this.#node, frame);
      if (outcome instanceof Promise) this.#answerLater(frameId, cost, outcome);
      else this.#answer(frameId, cost, { $case: 'result', value: toResult(outcome) });
    } catch (error) {
      this.#refuse(frameId, cost, error);
    }
  }

  /** Holds on to the frame's number and not to the frame: many are on their way at once. */
  #answerLater(frameId: number, cost: Cost, outcome: Promise<PublishOutcome>): void {
    outcome.then(
      settled => this.#answer(frameId, cost, { $case: 'result', value: toResult(settled) }),
      error => this.#refuse(frameId, cost, error),
    );
  }

  #refuse(frameId: number, cost: Cost, thrown: unknown): void {
    const error =
      thrown instanceof FedgateError ? thrown : new FedgateError('INTERNAL', 'internal error', { cause: thrown });
    this.#answer(frameId, cost, { $case: 'error', value: toRpcStatus(error) });
  }

  #answer(frameId: number, { bytes, width }: Cost, outcome: NonNullable<PublishStreamResponse['outcome']>): void {
    this.#unanswered -= width;
    this.#unansweredBytes -= bytes;
    this.#out.put({ frameId: BigInt(frameId), outcome });
    this.#adjust();
    this.#finish?.();
  }

  /** Reads on only while the client reads its answers and few enough of its frames are without one. */
  #adjust(): void {
    const full = this.#unansweredBytes > MAX_UNANSWERED_BYTES || this.#unanswered > MAX_UNANSWERED_FRAMES;
    const pause = full || this.#draining || !this.#out.writable;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#call.pause();
    else this.#call.resume();
  }
}
