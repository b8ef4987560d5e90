import { X509Certificate } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Client } from '@grpc/grpc-js';
import { HealthCheckRequest, HealthCheckResponse, HealthService } from '../../gen/ts/grpc/health/v1/health.js';
import { Backoff } from '../backoff.js';
import { FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { openChannel } from '../transport/channel.js';
import { fromGrpcError } from '../transport/status.js';
import type { RecordInit } from '../wire/record-codec.js';
import { Approvals } from './approvals/approvals.js';
import { Connections } from './connections.js';
import { type LoadedContext, loadContext } from './context.js';
import { DurableAdmin } from './durable-admin.js';
import type { DurableSubscribeOptions } from './durable-options.js';
import { DurableClientSubscription, type DurableSubscription } from './durable-subscription.js';
import { fetchFile } from './files/fetch.js';
import { type FileStream, fetchStream } from './files/file-stream.js';
import { share } from './files/share.js';
import { cancelUpload, getShare, listShares, unshare, updateShare, watchTransfers } from './files/shares.js';
import { TransferChannels } from './files/transfer-channels.js';
import type {
  FetchedFile,
  FetchOptions,
  FetchStreamOptions,
  ShareChanges,
  SharedFile,
  ShareOptions,
  ShareSource,
  Transfer,
} from './files/types.js';
import { NodeDirectory } from './nodes.js';
import { type ChosenProducer, chooseProducer, type ProducerOptions } from './producer.js';
import { type PublishAllOptions, type PublishSummary, publishAll } from './publish-all.js';
import { StreamPublisher } from './publisher.js';
import type { PublishReport } from './report.js';
import { Asker } from './requests/asker.js';
import { ClientResponding, type RequestHandler, type Responding, type RespondOptions } from './requests/responding.js';
import { StoredRequests } from './requests/stored.js';
import { type Survey, survey } from './requests/survey.js';
import type { Content, HandedOver, Reply, RequestOptions, SurveyOptions, TellOptions } from './requests/types.js';
import { type AcceptingStreams, ClientAccepting, type StreamHandler } from './streams/accepting.js';
import { HALF } from './streams/attachment.js';
import { ByteStream, type StreamHost } from './streams/byte-stream.js';
import { StreamChannels } from './streams/stream-channels.js';
import type { AcceptStreamsOptions, OpenStreamOptions } from './streams/types.js';
import {
  LiveClientSubscription,
  type SubscribeOptions,
  type Subscription,
  type SubscriptionHost,
} from './subscription.js';
import { type PublishOptions, termsOf } from './terms.js';
import { TokenKeeper, type TokenSource } from './token.js';
import { ClientTopics, Topic, type TopicList } from './topics/topic.js';

export interface ConnectOptions {
  /** A context by name, or the path of a context file. @default FEDGATE_CONTEXT, then the current context */
  readonly context?: string | undefined;
  /** Instead of a context: `host:port` of the gateway's node listener. */
  readonly address?: string | undefined;
  /** The DNS name in the gateway's certificate, `gw1.acme.fed.example`. Needed with `address`. */
  readonly serverName?: string | undefined;
  /** The node's own key and certificate, PEM. This or `token` is needed with `address`. */
  readonly identity?: KeyAndCertificate | undefined;
  /**
   * A bearer token in the place of a certificate, or what gets one: asked at the beginning, before the token that it gave ends, and whenever the
   * connection is made again. With a context: in the place of what that says.
   */
  readonly token?: TokenSource | undefined;
  /** The name of the node that the token makes of this program, for `node` and `inbox`. */
  readonly node?: string | undefined;
  /** The organisation's CA certificates, PEM. Needed with `address`. */
  readonly authorities?: readonly string[] | undefined;
  /** How long to try the first time, milliseconds. @default 5000 */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a publish may wait for a lost connection to come back before it is rejected, milliseconds. @default 10000 */
  readonly publishTimeoutMs?: number | undefined;
  /** Under which name this program publishes, for gateways to know what it sends again. @default a name drawn for this client */
  readonly producer?: ProducerOptions | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ClientEvents {
  /** The connection to the gateway broke; it is being made again. */
  disconnected: [error: FedgateError];
  /** The connection is back; subscriptions were opened again. */
  connected: [];
  closed: [];
}

/** Bytes on the way towards us on one call. */
const WINDOW_BYTES = 4 * 1024 * 1024;
const MAX_RECEIVE_BYTES = 4 * 1024 * 1024;
const PUBLISH_TIMEOUT_MS = 10_000;
/** Never longer than this between tries, so that a restarted gateway is found within 3 s. */
const RECONNECT = { firstMs: 50, maxMs: 500, factor: 2, random: Math.random };

/**
 * Connects to the own organisation's gateway. Throws CONTEXT_UNKNOWN, FILE_UNUSABLE, GATEWAY_UNREACHABLE, CERTIFICATE_UNTRUSTED, and
 * whatever the gateway refuses with.
 */
export async function connect(options: ConnectOptions = {}): Promise<FedgateClient> {
  const producer = chooseProducer(options.producer);
  const target =
    options.address === undefined ? withToken(await loadContext(options.context), options) : requireAll(options);
  const token = target.token === undefined ? undefined : new TokenKeeper(target.token);
  const open = (window: number): Client =>
    openChannel({
      ...target,
      token: token && (() => token.current()),
      window,
      maxReceiveBytes: MAX_RECEIVE_BYTES,
      maxBackoffMs: 500,
    });
  const client = new FedgateClient(open, options, producer, { identity: target.identity, node: target.node, token });
  try {
    await client.establish();
    return client;
  } catch (error) {
    client.close();
    throw error;
  }
}

/** A token that is given takes the place of all that a context says of who one is. */
const withToken = (context: LoadedContext, { token, node }: ConnectOptions): Target =>
  token === undefined ? { ...context, node: node ?? context.node } : { ...context, identity: undefined, token, node };

function requireAll({ address, serverName, identity, authorities, token, node }: ConnectOptions): Target {
  if (address === undefined || serverName === undefined || !authorities || !(identity || token !== undefined)) {
    throw new FedgateError(
      'FIELD_INVALID',
      'connect: address needs serverName, authorities, and identity or token with it',
    );
  }
  return { address, serverName, identity, authorities, token, node };
}

/** Where a client connects, and as whom. */
interface Target extends Omit<LoadedContext, 'token'> {
  readonly token?: TokenSource | undefined;
}

/** Who a client is. */
interface Own {
  readonly identity: KeyAndCertificate | undefined;
  readonly token: TokenKeeper | undefined;
  readonly node: string | undefined;
}

/** Connected to the own gateway. Reconnects by itself; `close` and `await using` end it. */
export class FedgateClient extends EventEmitter<ClientEvents> implements AsyncDisposable {
  readonly #connections: Connections;
  readonly #options: ConnectOptions;
  readonly #publisher: StreamPublisher;
  readonly #own: Own;
  readonly #subscriptions = new Set<LiveClientSubscription>();
  readonly #durables = new Set<DurableClientSubscription>();
  readonly #host: SubscriptionHost;
  readonly #asking: SubscriptionHost;
  readonly #answering: SubscriptionHost;
  readonly #asker: Asker;
  readonly #respondings = new Set<ClientResponding>();
  readonly #transfers: TransferChannels;
  readonly #topics: ClientTopics;
  readonly #streamChannels: StreamChannels;
  readonly #streams: StreamHost;
  readonly #acceptings = new Set<ClientAccepting>();
  #durableAdmin: DurableAdmin | undefined;
  #approvals: Approvals | undefined;
  #stored: StoredRequests | undefined;
  readonly #ended = new AbortController();
  #reconnecting: Promise<void> | undefined;

  /** Use `connect`. */
  constructor(open: (window: number) => Client, options: ConnectOptions, producer: ChosenProducer, own: Own) {
    super();
    this.#own = own;
    const connections = new Connections(() => open(WINDOW_BYTES));
    this.#connections = connections;
    this.#options = options;
    this.#host = { channel: () => connections.incoming, reconnected: error => this.#broken(error) };
    this.#asking = { ...this.#host, channel: () => connections.asking };
    this.#answering = { ...this.#host, channel: () => connections.answering };
    this.#asker = new Asker(this.#asking);
    this.#topics = new ClientTopics(
      this.#host,
      { ...this.#host, channel: () => connections.outgoing },
      () => connections.any,
    );
    this.#transfers = new TransferChannels(connections.any, open, error => this.#broken(error), this.#ended.signal);
    this.#streamChannels = new StreamChannels(open);
    this.#streams = { channels: this.#streamChannels, open: new Set() };
    this.#publisher = new StreamPublisher({
      channel: () => connections.outgoing,
      ...producer,
      timeoutMs: options.publishTimeoutMs ?? PUBLISH_TIMEOUT_MS,
      onBroken: error => {
        this.#broken(error).catch(() => undefined);
      },
    });
  }

  /** A gRPC channel to the gateway, for calls to services that have no method here. Not for bulk: the SDK's own may go on it, either way. */
  get channel(): Client {
    return this.#connections.any;
  }

  /**
   * Publishes one record and tells what became of it. Records published in one turn of the loop share a frame and its answer.
   *
   * Rejects with NOT_GRANTED, ORG_UNKNOWN, PEER_UNREACHABLE (not delivered), OUTCOME_UNKNOWN (perhaps delivered), LIMIT_REACHED …;
   * `error.retryable` tells whether the same call may succeed later.
   */
  publish(
    address: string,
    record: RecordInit | RecordInit['payload'],
    options?: PublishOptions,
  ): Promise<PublishReport> {
    const init = typeof record === 'string' || record instanceof Uint8Array ? { payload: record } : record;
    return this.#publisher.publish(address, init, termsOf(options), Date.now());
  }

  /**
   * Publishes everything a source yields, in order, as fast as it is taken. Stops at the first record that fails and throws its error;
   * `onProgress` then has told how many of the first records were answered for.
   */
  publishAll(
    address: string,
    source: Iterable<RecordInit> | AsyncIterable<RecordInit>,
    options: PublishAllOptions = {},
  ): Promise<PublishSummary> {
    return publishAll(this.#publisher, address, source, options);
  }

  /** What the gateway has stored: durable subscriptions, outboxes, dead letters, evidence. */
  get durable(): DurableAdmin {
    this.#durableAdmin ??= new DurableAdmin(this.#connections);
    return this.#durableAdmin;
  }

  /** Approval of code by several organisations: proposals, votes, and the proof that verifies offline. */
  get approvals(): Approvals {
    const connections = this.#connections;
    this.#approvals ??= new Approvals({
      get any() {
        return connections.any;
      },
      get incoming() {
        return connections.incoming;
      },
      reconnected: error => this.#broken(error),
    });
    return this.#approvals;
  }

  /** The name of the node that this program is, as its certificate says; with a token, as `connect` or the context was told. */
  get node(): string {
    const { node, identity } = this.#own;
    if (node !== undefined) return node;
    if (!identity)
      throw new FedgateError('FIELD_INVALID', 'a token does not tell the name of its node; say it as `node`');
    const { subjectAltName = '' } = new X509Certificate(identity.certificate);
    const name = /^URI:spiffe:\/\/[^/,]+\/node\/([a-z0-9-]+)$/.exec(subjectAltName)?.[1];
    if (name === undefined) throw new FedgateError('FILE_UNUSABLE', 'the certificate is not one of a node');
    return name;
  }

  /** The channel of what is written to this node directly, as `pubsub://ORG/@node`. To be subscribed to; that needs no grant. */
  get inbox(): string {
    return `@${this.node}`;
  }

  /** Which nodes are there, in the own organisation and in others. */
  get nodes(): NodeDirectory {
    return new NodeDirectory(() => this.#connections.any);
  }

  /**
   * Subscribes to a channel or pattern of the own organisation. Begins at once; iterate it to receive.
   *
   * With `durable` the gateway keeps what is published, and the place under that name, until each message is acknowledged. Throws
   * FIELD_INVALID for options that cannot be; what the gateway refuses, the iteration throws.
   */
  subscribe(pattern: string, options: DurableSubscribeOptions): DurableSubscription;
  subscribe(pattern: string, options?: SubscribeOptions): Subscription;
  subscribe(
    pattern: string,
    options: SubscribeOptions | DurableSubscribeOptions = {},
  ): Subscription | DurableSubscription {
    return 'durable' in options
      ? new DurableClientSubscription(this.#host, pattern, options, this.#durables)
      : new LiveClientSubscription(this.#host, pattern, options, this.#subscriptions);
  }

  /**
   * Asks an address and resolves with the reply. While the gateway is away it waits for it, as long as it has time and knows that it was not
   * asked yet.
   *
   * Rejects with RequestError (the responder's own error), NO_RESPONDERS, NOT_GRANTED, PEER_UNREACHABLE, LIMIT_REACHED, FEATURE_UNSUPPORTED
   * (nobody got it), RESPONDER_GONE, OUTCOME_UNKNOWN, DEADLINE_EXCEEDED, CANCELLED (it may have been carried out).
   */
  request(address: string, content: Content, options: RequestOptions = {}): Promise<Reply> {
    return this.#asker.request(address, content, options);
  }

  /**
   * Tells one of the nodes that answer on an address, the least busy, to which nobody replies. Resolves with who got it, as soon as it was handed
   * over: what becomes of it nobody hears, and nobody else gets it when that node goes away. Rejects as `request` does.
   */
  tell(address: string, content: Content, options: TellOptions = {}): Promise<HandedOver> {
    return this.#asker.tell(address, content, options);
  }

  /** Requests that survive outages, and their answers. */
  get stored(): StoredRequests {
    this.#stored ??= new StoredRequests(this.#asking);
    return this.#stored;
  }

  /**
   * Answers requests on a pattern of the own organisation, or several. Begins at once, and goes on by itself when the gateway was away.
   *
   * What the handler returns is the reply; a RequestError that it throws is its error. Throws FIELD_INVALID.
   */
  respond(pattern: string | readonly string[], handler: RequestHandler, options: RespondOptions = {}): Responding {
    const patterns = typeof pattern === 'string' ? [pattern] : pattern;
    return new ClientResponding(this.#answering, patterns, handler, options, this.#respondings);
  }

  /**
   * Asks everybody who answers on an address; the answers come as they are given. Iterating it throws as `request` rejects; its `summary`
   * says how many were asked and who did not answer. Throws FIELD_INVALID, FRAME_TOO_LARGE.
   */
  survey(address: string, content: Content, options: SurveyOptions = {}): Survey {
    return survey(this.#asking, address, content, options);
  }

  /** A topic, `topic://name` or the name: what nodes of every organisation that shares it publish to and read. */
  topic(name: string): Topic {
    return new Topic(name, this.#topics);
  }

  /** The topics that the gateway knows of and that this node may use, or the one of that name; and who is not heard about any. Rejects with NOT_GRANTED. */
  topics(name?: string): Promise<TopicList> {
    return this.#topics.list(name);
  }

  /**
   * Opens a byte stream to an address and resolves, with this end of it, once somebody there has accepted. It goes on by itself when a
   * connection on the way was lost, within `resumeMs`.
   *
   * Rejects with NO_ACCEPTORS, STREAM_REFUSED, NOT_GRANTED, PEER_UNREACHABLE, DEADLINE_EXCEEDED, LIMIT_REACHED, FEATURE_UNSUPPORTED, CANCELLED.
   */
  openStream(address: string, options: OpenStreamOptions = {}): Promise<ByteStream> {
    const { resumeMs = 0, timeoutMs = 0, window, signal } = options;
    const open = { address, half: HALF.send, resumeMs, timeoutMs };
    return ByteStream.begin(this.#streams, { $case: 'open', value: open }, { channel: address, window, signal });
  }

  /**
   * Accepts byte streams on a pattern of the own organisation, or several; the handler gets each. Begins at once, and goes on by itself when the
   * gateway was away. Throws FIELD_INVALID.
   */
  acceptStreams(
    pattern: string | readonly string[],
    handler: StreamHandler,
    options: AcceptStreamsOptions = {},
  ): AcceptingStreams {
    const patterns = typeof pattern === 'string' ? [pattern] : pattern;
    return new ClientAccepting(this.#answering, this.#streams, patterns, handler, options, this.#acceptings);
  }

  /**
   * Shares a file, or the bytes of a stream, and resolves with the share once all of it is on stable storage of the own gateway. Memory
   * does not grow with the size.
   *
   * A path is resumed by itself when the connection breaks. A stream comes once: then this rejects with OUTCOME_UNKNOWN, and a call with the
   * same `uploadId` and the same bytes from the first on leaves out what the gateway has, after comparing it.
   *
   * Rejects with FILE_UNUSABLE (no regular file), FILE_CHANGED (it changed meanwhile, or is not what the upload began with; nothing was
   * shared), NOT_GRANTED, FILES_FULL, STORE_FULL, UPLOAD_TAKEN, UPLOAD_MISMATCH, CANCELLED.
   */
  share(source: ShareSource, options: ShareOptions = {}): Promise<SharedFile> {
    return share(this.#transfers, source, options);
  }

  /**
   * Fetches a share to a path. Each piece is verified before it counts, the whole before the file appears, which is then on stable storage.
   * What an ended call has fetched stays in `<path>.part`; the same call goes on from there. A file that is there is never replaced unless
   * `overwrite` says so. Never give a share's name as the path: it is chosen by whoever shared it.
   *
   * Rejects with FILE_UNUSABLE, SHARE_UNKNOWN, SHARE_ENDED, APPROVAL_MISSING, NOT_GRANTED, PEER_UNREACHABLE, PIECE_MISMATCH, FILE_DAMAGED,
   * MANIFEST_INVALID, FILES_FULL, CANCELLED.
   */
  fetch(shareId: string, options: FetchOptions): Promise<FetchedFile> {
    return fetchFile(this.#transfers, shareId, options);
  }

  /**
   * Fetches a share, or a range of it, as a stream. Bytes are given out as they come, so before the piece that they belong to is complete: when a
   * piece turns out to be another the iteration throws PIECE_MISMATCH before it gives out the end of that piece. Pieces that a range
   * begins or ends within are not verified. A loop that takes its time slows the sender down. Rejects and throws like `fetch`.
   */
  fetchStream(shareId: string, options: FetchStreamOptions = {}): Promise<FileStream> {
    return fetchStream(this.#transfers, shareId, options);
  }

  /** What a share is, for its owner and for whoever may fetch it. Does not count as a download. Rejects with SHARE_UNKNOWN, PEER_UNREACHABLE. */
  getShare(shareId: string): Promise<SharedFile> {
    return getShare(this.#transfers, shareId);
  }

  /** The own shares, oldest first; with the grant `admin` those of all nodes of the organisation. */
  listShares(): AsyncIterable<SharedFile> {
    return listShares(this.#transfers);
  }

  /** Changes audience, expiry or the number of downloads; what is left out stays. Rejects with SHARE_UNKNOWN, NOT_GRANTED. */
  updateShare(shareId: string, changes: ShareChanges): Promise<SharedFile> {
    return updateShare(this.#transfers, shareId, changes);
  }

  /** Ends a share; downloads under way end within one piece. Rejects with SHARE_UNKNOWN. */
  unshare(shareId: string): Promise<void> {
    return unshare(this.#transfers, shareId);
  }

  /** Gives an upload up that was begun with this id, and frees its space. */
  cancelUpload(uploadId: Uint8Array): Promise<void> {
    return cancelUpload(this.#transfers, uploadId);
  }

  /** Transfers of this node, with the grant `admin` of all: first those under way, then each change. Throws DRAINING when the gateway stops. */
  watchTransfers(options: { readonly shareId?: string; readonly signal?: AbortSignal } = {}): AsyncIterable<Transfer> {
    const { shareId = '', signal = new AbortController().signal } = options;
    return watchTransfers(this.#transfers, shareId, signal);
  }

  /**
   * Waits until all that was published is answered, all that was acknowledged settled, all that was asked of it answered, and the other ends have all of the
   * byte streams that were ended with `end()`; then closes.
   */
  async drain(): Promise<void> {
    await Promise.all([
      this.#publisher.drain(),
      ...[...this.#durables].map(subscription => subscription.drain()),
      ...[...this.#respondings].map(responding => responding.drain()),
      this.#topics.drain(),
      ...[...this.#streams.open].map(stream => stream.settled()),
    ]);
    this.close();
  }

  /** Ends everything at once. */
  close(): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(new FedgateError('CANCELLED', 'the client is closed'));
    for (const subscription of [...this.#subscriptions]) subscription.close();
    for (const subscription of [...this.#durables]) subscription.cut();
    for (const responding of [...this.#respondings]) responding.close();
    this.#topics.close();
    for (const accepting of [...this.#acceptings]) accepting.close();
    for (const stream of [...this.#streams.open]) stream.abandon(new FedgateError('CANCELLED', 'the client is closed'));
    this.#publisher.close();
    this.#connections.close();
    this.#streamChannels.close();
    this.#transfers.close();
    this.emit('closed');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  /** @internal Makes the first connection. */
  async establish(): Promise<void> {
    const { connectTimeoutMs = 5_000, signal } = this.#options;
    const giveUpMs = performance.now() + connectTimeoutMs;
    const backoff = new Backoff(RECONNECT);
    for (;;) {
      if (signal?.aborted) throw new FedgateError('CANCELLED', 'connecting was given up', { cause: signal.reason });
      const error = await this.#ping();
      if (!error) return;
      if (!this.#mayPass(error) || performance.now() >= giveUpMs) throw error;
      await this.#pause(Math.min(backoff.next(), Math.max(0, giveUpMs - performance.now())));
    }
  }

  /** Begins to make the connection again, unless that goes on already. Rejects when the gateway is there and refuses us. */
  #broken(error: FedgateError): Promise<void> {
    if (this.#ended.signal.aborted) return Promise.reject(error);
    if (!this.#reconnecting) {
      const reconnecting = this.#reconnect(error).finally(() => {
        this.#reconnecting = undefined;
      });
      reconnecting.catch(() => undefined);
      this.#reconnecting = reconnecting;
      this.#publisher.hold(reconnecting.catch(() => undefined));
    }
    return this.#reconnecting;
  }

  async #reconnect(cause: FedgateError): Promise<void> {
    this.emit('disconnected', cause);
    const { publishTimeoutMs = PUBLISH_TIMEOUT_MS } = this.#options;
    const lost = new FedgateError(
      'GATEWAY_UNREACHABLE',
      `the gateway was not reached again within ${publishTimeoutMs / 1000} s: ${cause.message}`,
      { cause },
    );
    // Whatever it was, the next connection is made with a token of now.
    this.#own.token?.forget();
    const expiry = setInterval(() => this.#publisher.expire(lost), 250);
    try {
      const backoff = new Backoff(RECONNECT);
      for (;;) {
        await this.#pause(backoff.next());
        if (this.#ended.signal.aborted) throw this.#ended.signal.reason;
        const error = await this.#ping();
        if (!error) break;
        if (!this.#mayPass(error)) throw error;
      }
    } catch (error) {
      this.#publisher.fail(error as FedgateError);
      throw error;
    } finally {
      clearInterval(expiry);
    }
    this.emit('connected');
  }

  /** Asks the gateway on every connection whether it is there and serves; the answer to a failed TLS handshake comes this way too. */
  async #ping(): Promise<FedgateError | undefined> {
    try {
      await this.#own.token?.current();
    } catch (error) {
      return error as FedgateError;
    }
    const answers = await Promise.all(this.#connections.all.map(ping));
    return answers.find(answer => answer !== undefined);
  }

  /** Whether trying again may help. With a token that is what it is, it does not. */
  #mayPass({ reason, retryable }: FedgateError): boolean {
    if (reason !== 'TOKEN_EXPIRED') return retryable;
    this.#own.token?.forget();
    return this.#own.token?.renewable === true;
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#ended;
    return new Promise(resolve => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}

function ping(channel: Client): Promise<FedgateError | undefined> {
  const { path } = HealthService.check;
  const serialize = (request: HealthCheckRequest): Buffer => Buffer.from(HealthCheckRequest.encode(request).finish());
  const deserialize = (bytes: Buffer): HealthCheckResponse => HealthCheckResponse.decode(bytes);
  return new Promise(resolve => {
    channel.makeUnaryRequest(path, serialize, deserialize, { service: '' }, { deadline: Date.now() + 2_000 }, error =>
      resolve(error ? handshakeRefusal(fromGrpcError(error)) : undefined),
    );
  });
}

/** grpc-js reports a refused handshake as UNAVAILABLE, which trying again does not mend. */
function handshakeRefusal(error: FedgateError): FedgateError {
  if (error.reason !== 'GATEWAY_UNREACHABLE' || !/certificate|ERR_TLS|ERR_SSL|SSL routines|alert/i.test(error.message))
    return error;
  return new FedgateError('CERTIFICATE_UNTRUSTED', `the TLS handshake with the gateway was refused: ${error.message}`, {
    cause: error,
  });
}
