import type { ServiceDefinition } from '@grpc/grpc-js';
import {
  type ListTopicsRequest,
  type ListTopicsResponse,
  type PublishTopicResponse,
  type SubscribeTopicRequest,
  SubscribeTopicResponse,
  type TopicNotice,
  type TopicPlace,
  TopicServiceService,
} from '../../gen/ts/fedgate/messaging/v1/topic_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { deliverQuestion, type Policy } from '../policy/types.js';
import { parseTopic } from '../topics/address.js';
import type { Author } from '../topics/author.js';
import type { TopicGrants } from '../topics/grants.js';
import { MAX_TTL_MS } from '../topics/limits.js';
import { checkedStream } from '../topics/post.js';
import type { LossReason, ReaderOut, ReaderStart } from '../topics/reader.js';
import type { Topics } from '../topics/topics.js';
import type { AuthorId, Post, StreamId, StreamKey } from '../topics/types.js';
import { streamKey } from '../topics/types.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { sliceBlock } from '../wire/records.js';
import { encodeTopicDelivery, readPublishTopic } from '../wire/topic-delivery.js';
import { toPaused, toTopic } from './topic-messages.js';

export interface TopicHost {
  readonly gateway: string;
  readonly topics: Topics;
  readonly author: Author;
  readonly grants: TopicGrants;
  /** The own organisation. */
  readonly org: string;
  readonly policy: Policy;
  /** How long a topic is kept, milliseconds. */
  readonly keepMs: (topic: string) => number;
  readonly subscriptionsPerNode: number;
  /** Fires when the gateway stops. */
  readonly draining: AbortSignal;
}

/** Places that a reader may name. */
export const MAX_PLACES = 1_024;
const START_EARLIEST = 2;
const WHY: { readonly [why in LossReason]: 1 | 2 } = { retention: 1, expired: 2 };

const untouched = (bytes: Buffer): Buffer => bytes;

/** The service with the frames that carry records left as bytes. */
export const topicDefinition: ServiceDefinition = {
  ...TopicServiceService,
  publishTopic: { ...TopicServiceService.publishTopic, requestDeserialize: untouched },
  subscribeTopic: { ...TopicServiceService.subscribeTopic, responseSerialize: untouched },
} as ServiceDefinition;

type Caller = { readonly name: string };

/** Topics, for nodes of the own organisation. */
export function topicService(wrapper: CallWrapper<Caller>, host: TopicHost): Handlers<typeof TopicServiceService> {
  const open = new Map<string, number>();
  return {
    publishTopic: wrapper.unary(async (bytes: Buffer, { caller }: CallContext<Caller>) => publish(host, caller, bytes)),
    subscribeTopic: wrapper.serverStream(
      async (
        request: SubscribeTopicRequest,
        out: FrameWriter<Buffer>,
        { caller, signal, end }: CallContext<Caller>,
      ) => {
        const topic = parseTopic(request.topic);
        host.grants.checkSubscribe(caller.name, topic);
        const count = open.get(caller.name) ?? 0;
        if (count >= host.subscriptionsPerNode) throw tooMany(caller.name, count);
        open.set(caller.name, count + 1);
        let unwatch: () => void = () => undefined;
        try {
          const { policy, org } = host;
          const question = deliverQuestion({ org, node: caller.name }, `topic://${topic}`);
          if (policy.asks('deliver')) unwatch = await policy.watch(question, end);
          await subscribe(host, topic, toStart(topic, request), out, signal);
        } finally {
          unwatch();
          const left = (open.get(caller.name) ?? 1) - 1;
          if (left > 0) open.set(caller.name, left);
          else open.delete(caller.name);
        }
      },
    ),
    listTopics: wrapper.unary(({ topic }: ListTopicsRequest, { caller }: CallContext<Caller>) =>
      list(host, caller, topic),
    ),
  };
}

async function publish(host: TopicHost, { name }: Caller, bytes: Buffer): Promise<PublishTopicResponse> {
  const { topic: text, ttlMs, records } = readPublishTopic(bytes);
  const topic = parseTopic(text);
  host.grants.checkPublish(name, topic);
  if (ttlMs > MAX_TTL_MS) throw fieldError('ttl_ms', `is more than ${MAX_TTL_MS}`);
  const { count, bytes: encoded } = records;
  if (host.policy.asks('publish'))
    await host.policy.check({
      ...{ action: 'publish', subject: { org: host.org, node: name }, targetOrg: host.org, target: `topic://${topic}` },
      ...{ records: count, bytes: encoded.length },
    });
  if (host.draining.aborted) throw host.draining.reason;
  const post = await host.author.publish(topic, name, records, ttlMs || host.keepMs(topic));
  const links = host.topics.sharers(topic).length;
  return { place: toPlace(post.stream, post.last), records: post.records.count, links };
}

const toPlace = ({ org, gateway, epoch }: StreamId, sequence: number): TopicPlace => ({
  org,
  gateway,
  epoch,
  sequence: BigInt(sequence),
});

/** Throws FIELD_INVALID. */
function toStart(topic: string, { start, after }: SubscribeTopicRequest): ReaderStart {
  if (after.length > MAX_PLACES) throw fieldError('after', `names more than ${MAX_PLACES} places`);
  const places = new Map<StreamKey, number>();
  for (const { org, gateway, epoch, sequence } of after) {
    if (sequence > BigInt(Number.MAX_SAFE_INTEGER)) throw fieldError('after', 'a sequence over 2^53');
    places.set(streamKey(checkedStream(topic, org, gateway, epoch)), Number(sequence));
  }
  return { from: start === START_EARLIEST ? 'earliest' : 'new', after: places };
}

/** Runs until the call is over; rejects when the gateway stops. */
function subscribe(
  host: TopicHost,
  topic: string,
  start: ReaderStart,
  out: FrameWriter<Buffer>,
  call: AbortSignal,
): Promise<void> {
  const { topics, gateway, draining } = host;
  const reader = topics.read(topic, start, new CallOut(out));
  const places = reader.places.map(({ stream, sequence }) => toPlace(stream, sequence));
  out.put(notice({ $case: 'opened', value: { gateway, places } }));
  out.onDrain(() => reader.pump());
  reader.open();
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      reader.close();
      call.removeEventListener('abort', over);
      draining.removeEventListener('abort', drain);
      settle();
    };
    const over = (): void => end(resolve);
    const drain = (): void => end(() => reject(draining.reason));
    call.addEventListener('abort', over, { once: true });
    draining.addEventListener('abort', drain, { once: true });
    if (call.aborted) over();
    else if (draining.aborted) drain();
  });
}

const notice = (event: NonNullable<TopicNotice['event']>): Buffer =>
  Buffer.from(SubscribeTopicResponse.encode(SubscribeTopicResponse.fromPartial({ notice: { event } })).finish());

/** The newest posts as they go to all who read all of them: encoded once. Few, so that what is held is not held twice. */
const encoded = new Map<Post, Buffer>();
const MAX_ENCODED = 16;

function encode(post: Post, from: number): Buffer {
  const known = from === post.first ? encoded.get(post) : undefined;
  if (known) return known;
  const { stream, node, timeMs, records, first } = post;
  const frame = encodeTopicDelivery(
    { org: stream.org, gateway: stream.gateway, epoch: stream.epoch, sequence: from, node, timeMs },
    sliceBlock(records, from - first, records.count),
  );
  if (from !== first) return frame;
  const [oldest] = encoded.keys();
  if (encoded.size >= MAX_ENCODED && oldest) encoded.delete(oldest);
  encoded.set(post, frame);
  return frame;
}

class CallOut implements ReaderOut {
  readonly #out: FrameWriter<Buffer>;

  constructor(out: FrameWriter<Buffer>) {
    this.#out = out;
  }

  get writable(): boolean {
    return this.#out.writable;
  }

  post(post: Post, from: number): void {
    this.#out.put(encode(post, from));
  }

  lost(stream: StreamId, last: number, records: number, why: LossReason): void {
    const value = { place: toPlace(stream, last), records: BigInt(records), why: WHY[why] };
    this.#out.put(notice({ $case: 'lost', value }));
  }

  muted({ org, gateway }: AuthorId, { reason, message }: FedgateError): void {
    const value = { org, gateway, reason, message, untilMs: 0n, evidence: new Uint8Array() };
    this.#out.put(notice({ $case: 'muted', value }));
  }
}

function list({ topics, grants }: TopicHost, { name }: Caller, text: string): ListTopicsResponse {
  const wanted = text === '' ? undefined : parseTopic(text);
  const sees = (topic: string): boolean => grants.maySubscribe(name, topic) || grants.mayPublish(name, topic);
  if (wanted !== undefined && !sees(wanted)) grants.checkSubscribe(name, wanted);
  const shown = [...topics.holdings.topics.values()].filter(
    topic => sees(topic.name) && (wanted === undefined || wanted === topic.name),
  );
  shown.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { topics: shown.map(topic => toTopic(topics, topic)), paused: toPaused(topics) };
}

const tooMany = (node: string, count: number): FedgateError =>
  new FedgateError('LIMIT_REACHED', `node ${node} has ${count} subscriptions to topics open`, {
    metadata: { limit: 'subscriptions per node' },
  });
