import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import {
  type AcknowledgeRequest,
  type AcknowledgeResponse,
  MessagingServiceService,
  type PullRequest,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { parseSubscriptionName } from '../durable/subscriptions/spec.js';
import type { Subscriptions } from '../durable/subscriptions/subscriptions.js';
import { FedgateError, fieldError } from '../errors.js';
import type { Access } from '../messaging/access.js';
import type { Policy } from '../policy/types.js';
import type { CallContext, CallWrapper } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { NO_NACK, nackTerms, toRanges } from './consume-frames.js';
import { ConsumeSession } from './consume-session.js';
import { pull } from './pull.js';

export interface ConsumeHost {
  readonly gateway: string;
  readonly subscriptions: Subscriptions;
  /** The own organisation. */
  readonly org: string;
  readonly access: Access;
  readonly policy: Policy;
  readonly limits: { readonly subscriptionsPerNode: number };
  /** Fires when the gateway stops: streams settle what came and end with its reason. */
  readonly draining: AbortSignal;
}

const untouched = (bytes: Buffer): Buffer => bytes;
const { consume, pull: pullMethod, acknowledge } = MessagingServiceService;

/** Records go out as the bytes that they are stored as. */
export const consumeDefinition: ServiceDefinition = {
  consume: { ...consume, requestDeserialize: untouched, responseSerialize: untouched },
  pull: { ...pullMethod, responseSerialize: untouched },
  acknowledge,
} as ServiceDefinition;

type Context = CallContext<{ readonly name: string }>;

/** The methods of MessagingService that speak of durable subscriptions. */
export function consumeHandlers(wrapper: CallWrapper<{ readonly name: string }>, host: ConsumeHost) {
  const streams = new StreamCount(host.limits.subscriptionsPerNode);
  return {
    consume: wrapper.bidi((call: ServerDuplexStream<Buffer, Buffer>, out: FrameWriter<Buffer>, context: Context) =>
      new ConsumeSession(call, out, context.caller.name, host, context.end).run(context.signal, streams),
    ),
    pull: wrapper.serverStream((request: PullRequest, out: FrameWriter<Buffer>, { caller, signal, end }: Context) =>
      streams.counted(caller.name, () => pull(request, out, caller.name, host, signal, end)),
    ),
    acknowledge: wrapper.unary(
      async ({ subscription, ack, nack }: AcknowledgeRequest, { caller }: Context): Promise<AcknowledgeResponse> => {
        const { subscriptions, access } = host;
        const name = parseSubscriptionName(subscription, 'subscription');
        access.checkSubscribe(caller.name, subscriptions.definition(name).pattern);
        if (ack.length === 0 && !nack) throw fieldError('ack', 'is empty, and there is no nack');
        const acks = toRanges(ack, 'ack');
        const nacks = nack ? toRanges(nack.ranges, 'nack.ranges') : [];
        const terms = nack ? nackTerms(nack, 'nack') : NO_NACK;
        const records = await subscriptions.acknowledge(name, caller.name, acks, nacks, terms);
        return { records: BigInt(records) };
      },
    ),
  };
}

/** Streams that each node has open, bounded as those of live subscriptions are. */
export class StreamCount {
  readonly #most: number;
  readonly #open = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Throws LIMIT_REACHED. */
  async counted<T>(node: string, work: () => Promise<T>): Promise<T> {
    const open = this.#open.get(node) ?? 0;
    if (open >= this.#most) {
      throw new FedgateError('LIMIT_REACHED', `node ${node} has ${open} durable subscriptions open`, {
        metadata: { limit: 'subscriptions per node' },
      });
    }
    this.#open.set(node, open + 1);
    try {
      return await work();
    } finally {
      const left = (this.#open.get(node) ?? 1) - 1;
      if (left > 0) this.#open.set(node, left);
      else this.#open.delete(node);
    }
  }
}
