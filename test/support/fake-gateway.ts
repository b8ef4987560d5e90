import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import {
  type ConsumeNotice,
  ConsumeRequest,
  ConsumeResponse,
  MessagingServiceService,
  type PublishResult,
  type PublishStreamResponse,
  type SubscriptionSpec,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { HealthService as HealthDefinition } from '../../gen/ts/grpc/health/v1/health.js';
import { writeContextFile } from '../../src/client/context.js';
import { type ConnectOptions, connect, type FedgateClient, FedgateError } from '../../src/client/index.js';
import { writeKeyAndCertificate } from '../../src/identity/files.js';
import { createAuthority, issueLeaf } from '../../src/identity/issue.js';
import { type HostPort, type OrgName, parseHostPort } from '../../src/identity/names.js';
import { gatewayDnsName } from '../../src/identity/subject.js';
import { HealthService } from '../../src/services/health.js';
import { CallWrapper } from '../../src/transport/calls.js';
import { Listener } from '../../src/transport/server.js';
import { toGrpcStatus, toRpcStatus } from '../../src/transport/status.js';
import { encodePlaced, type PublishFrame, readPublishStreamRequest } from '../../src/wire/messaging-frames.js';
import { FieldReader } from '../../src/wire/reader.js';
import { ReceivedRecord, RecordEncoder } from '../../src/wire/record-codec.js';
import { FEDERATION, type TestScope } from './registry.js';

/** What the gateway does with a frame whose number is right. Cutting ends the stream as a lost connection does. */
export type Verdict = 'store' | 'live' | 'cut before' | 'cut after' | 'hold' | FedgateError;

export interface StoredFrame {
  readonly frame: PublishFrame;
  readonly texts: readonly string[];
}

type PublishCall = ServerDuplexStream<Buffer, PublishStreamResponse>;
type ConsumeCall = ServerDuplexStream<Buffer, Buffer>;

const untouched = (bytes: Buffer): Buffer => bytes;
const definition = {
  publishStream: { ...MessagingServiceService.publishStream, requestDeserialize: untouched },
  consume: { ...MessagingServiceService.consume, requestDeserialize: untouched, responseSerialize: untouched },
} as ServiceDefinition;

const lost = (): FedgateError => new FedgateError('GATEWAY_UNREACHABLE', 'the connection was lost');

/** What a publisher's numbers are checked against. */
interface ProducerState {
  epoch: number;
  next: number;
}

/**
 * A gRPC server over mutual TLS that keeps the contract towards programs and does as it is told where a gateway has a choice: it refuses
 * this frame, breaks off after that one. It stores in memory.
 */
export class FakeGateway {
  /** Everything that was stored, in order. */
  readonly stored: StoredFrame[] = [];
  /** Every frame that arrived. */
  readonly frames: PublishFrame[] = [];
  /** The lowest offset that is not acknowledged, as consumers are told. */
  openedAt = 7;
  /** Decides about each frame that is neither a duplicate nor out of order. */
  judge: (frame: PublishFrame, texts: readonly string[]) => Verdict = () => 'store';
  /** Decides about each group of frames that would be stored in one turn: whether the disk fails. */
  commitFails: () => boolean = () => false;
  readonly #producers = new Map<string, ProducerState>();
  readonly #ids = new Set<string>();
  readonly #streams = new Set<PublishStream>();
  readonly #consumers: FakeConsumer[] = [];
  readonly #waiting: ((consumer: FakeConsumer) => void)[] = [];
  #listener: Listener | undefined;
  #listen: HostPort = parseHostPort('127.0.0.1:0', 'listen', { allowPortZero: true });
  #connect: ConnectOptions = {};
  #makeListener: (listen: HostPort) => Listener = () => {
    throw new Error('not started');
  };

  /** `more`: adds services of its own. */
  static async start(t: TestScope, more: (listener: Listener) => void = () => undefined): Promise<FakeGateway> {
    const gateway = new FakeGateway();
    const org = 'ACME' as OrgName;
    const authority = await createAuthority(FEDERATION, org);
    const own = await issueLeaf(authority, FEDERATION, { org, role: 'gateway', name: 'gw1' });
    const node = await issueLeaf(authority, FEDERATION, { org, role: 'node', name: 'tester' });
    const authorities = [authority.certificate];
    gateway.#makeListener = listen => {
      const windows = { stream: 4 * 1024 * 1024, connection: 16 * 1024 * 1024 };
      const name = 'fake gateway';
      const listener = new Listener({ name, listen, identity: own, authorities, windows, maxConcurrentStreams: 100 });
      const calls = new CallWrapper<undefined>({ authenticate: () => undefined, onFailure: () => undefined });
      listener.addService(HealthDefinition, new HealthService().implementation(calls));
      listener.addService(definition, {
        publishStream: (call: PublishCall) => gateway.#publish(call),
        consume: (call: ConsumeCall) => gateway.#consume(call),
      });
      more(listener);
      return listener;
    };
    await gateway.restart();
    gateway.#connect = { serverName: gatewayDnsName(FEDERATION, org, 'gw1'), identity: node, authorities };
    t.teardown(() => gateway.stop());
    return gateway;
  }

  async connect(t: TestScope, options: ConnectOptions = {}): Promise<FedgateClient> {
    const client = await connect({ ...this.#connect, address: this.#listener?.address, ...options });
    t.teardown(() => client.close());
    return client;
  }

  /** Writes a context file for commands into a folder; returns its path. */
  async context(folder: string): Promise<string> {
    const { serverName = '', identity, authorities = [] } = this.#connect;
    if (!identity) throw new Error('not started');
    const files = await writeKeyAndCertificate(folder, identity);
    const ca = join(folder, 'ca.crt');
    await writeFile(ca, authorities.join('\n'));
    const path = join(folder, 'context.yaml');
    await writeContextFile(path, { ...files, gateway: this.#listener?.address ?? '', serverName, ca });
    return path;
  }

  async stop(): Promise<void> {
    await this.#listener?.stop(0);
    this.#listener = undefined;
  }

  /** Starts, on the same port as before. */
  async restart(): Promise<void> {
    this.#listener = this.#makeListener(this.#listen);
    await this.#listener.start();
    this.#listen = { ...this.#listen, port: this.#listener.port };
  }

  /** All payloads that were stored, in order. */
  get texts(): string[] {
    return this.stored.flatMap(({ texts }) => texts);
  }

  /** The next stream of a consumer that was not asked for yet. */
  consumer(): Promise<FakeConsumer> {
    const consumer = this.#consumers.shift();
    return consumer ? Promise.resolve(consumer) : new Promise(resolve => this.#waiting.push(resolve));
  }

  /** Breaks off all streams of publishers. */
  cut(): void {
    for (const stream of this.#streams) stream.end(lost());
  }

  #consume(call: ConsumeCall): void {
    const consumer = new FakeConsumer(call, this.openedAt, ready => {
      const waiting = this.#waiting.shift();
      if (waiting) waiting(ready);
      else this.#consumers.push(ready);
    });
    void consumer;
  }

  #publish(call: PublishCall): void {
    const stream = new PublishStream(call, bytes => this.#take(stream, readPublishStreamRequest(bytes)));
    this.#streams.add(stream);
    call.on('close', () => this.#streams.delete(stream));
  }

  #take(stream: PublishStream, frame: PublishFrame): void {
    this.frames.push(frame);
    const texts = textsOf(frame);
    const { dedupeId, producerId, producerEpoch, producerSequence, address } = frame;
    if (dedupeId && this.#ids.has(`${address} ${dedupeId}`)) return stream.answer(frame, result({ duplicate: true }));
    const producer = this.#producer(producerId, producerEpoch, address);
    if (producerId && producerSequence < producer.next) return stream.answer(frame, result({ duplicate: true }));
    if (producerId && producerSequence > producer.next) {
      const metadata = { expected: String(producer.next) };
      return stream.answer(frame, new FedgateError('SEQUENCE_GAP', 'too high', { metadata }));
    }
    const verdict = this.judge(frame, texts);
    if (verdict === 'cut before') return stream.end(lost());
    if (verdict === 'live') return stream.answer(frame, result({ level: 0, subscribers: 1 }));
    if (verdict instanceof FedgateError) return stream.answer(frame, verdict);
    if (producerId) producer.next++;
    if (dedupeId) this.#ids.add(`${address} ${dedupeId}`);
    stream.store({ frame, texts, verdict, producer }, group => this.#commit(stream, group));
  }

  /** As a disk does: what arrived in one turn is stored together, or not. */
  #commit(stream: PublishStream, group: readonly Pending[]): void {
    if (this.commitFails()) {
      for (const { frame, producer } of group) {
        this.#ids.delete(`${frame.address} ${frame.dedupeId}`);
        if (frame.producerId) producer.next = Math.min(producer.next, frame.producerSequence);
        stream.answer(frame, new FedgateError('STORE_FAILED', 'the disk failed'));
      }
      return;
    }
    for (const { frame, texts, verdict } of group) {
      this.stored.push({ frame, texts });
      if (verdict === 'cut after') stream.end(lost());
      else if (verdict !== 'hold')
        stream.answer(frame, result({ level: Math.max(1, frame.ack) as 1, sequence: BigInt(this.stored.length) }));
    }
  }

  #producer(id: string, epoch: number, address: string): ProducerState {
    const key = `${id} ${address}`;
    const known = this.#producers.get(key);
    if (known && known.epoch >= epoch) return known;
    const fresh = { epoch, next: 1 };
    this.#producers.set(key, fresh);
    return fresh;
  }
}

interface Pending {
  readonly frame: PublishFrame;
  readonly texts: readonly string[];
  readonly verdict: Verdict;
  readonly producer: ProducerState;
}

class PublishStream {
  readonly #call: PublishCall;
  #over = false;
  #group: Pending[] = [];

  constructor(call: PublishCall, onFrame: (bytes: Buffer) => void) {
    this.#call = call;
    call.on('data', (bytes: Buffer) => {
      if (!this.#over) onFrame(bytes);
    });
    call.on('error', () => undefined);
    call.on('end', () => setImmediate(() => this.#over || call.end()));
  }

  store(pending: Pending, commit: (group: readonly Pending[]) => void): void {
    this.#group.push(pending);
    if (this.#group.length === 1) setImmediate(() => commit(this.#group.splice(0)));
  }

  answer({ frameId }: PublishFrame, outcome: PublishResult | FedgateError): void {
    if (this.#over) return;
    this.#call.write({
      frameId: BigInt(frameId),
      outcome:
        outcome instanceof FedgateError
          ? { $case: 'error', value: toRpcStatus(outcome) }
          : { $case: 'result', value: outcome },
    });
  }

  end(error: FedgateError): void {
    if (this.#over) return;
    this.#over = true;
    fail(this.#call, error);
  }
}

const result = (facts: Partial<PublishResult>): PublishResult => ({
  side: 2,
  org: 'GLOBEX',
  subscribers: 0,
  dropped: 0,
  level: 1,
  inbox: 0,
  orgs: [],
  duplicate: false,
  streamEpoch: 1n,
  sequence: 1n,
  ...facts,
});

function textsOf({ records }: PublishFrame): string[] {
  const reader = new FieldReader(records.bytes);
  const texts: string[] = [];
  while (reader.next()) texts.push(new ReceivedRecord(reader.bytes, reader.start, reader.end).text);
  return texts;
}

function fail(call: PublishCall | ConsumeCall, error: FedgateError): void {
  const status = toGrpcStatus(error);
  call.emit('error', Object.assign(new Error(status.details), status));
}

type Ranges = readonly (readonly [first: number, last: number])[];

/** One Consume call, played by hand. */
export class FakeConsumer {
  readonly acks: Ranges[] = [];
  readonly nacks: {
    readonly ranges: Ranges;
    readonly delayMs: number;
    readonly reason: string;
    deadLetter: boolean;
  }[] = [];
  readonly inProgress: Ranges[] = [];
  /** Whether acknowledgements are settled as they come. */
  settles = true;
  credit = 0;
  creditFrames = 0;
  delivered = 0;
  halfClosed = false;
  cancelled = false;
  spec: SubscriptionSpec | undefined;
  readonly #call: ConsumeCall;
  readonly #unsettled: bigint[] = [];
  #changed: (() => void)[] = [];

  constructor(call: ConsumeCall, openedAt: number, onStart: (consumer: FakeConsumer) => void) {
    this.#call = call;
    call.on('error', () => undefined);
    call.on('cancelled', () => this.#change(() => (this.cancelled = true)));
    call.on('data', (bytes: Buffer) => {
      const { frame } = ConsumeRequest.decode(bytes);
      if (frame?.$case === 'start') {
        this.spec = frame.value;
        this.notice({ $case: 'opened', value: { gateway: 'gw1', offset: BigInt(openedAt), created: true } });
        onStart(this);
      } else this.#change(() => this.#take(frame));
    });
    call.on('end', () => {
      this.#change(() => (this.halfClosed = true));
      if (this.settles) call.end();
    });
  }

  /** Resolves once the check holds. */
  async until(check: () => boolean): Promise<void> {
    while (!check()) await new Promise<void>(resolve => this.#changed.push(resolve));
  }

  deliver(offset: number, texts: readonly (string | Buffer)[], deliveryCount = 1): boolean {
    const encoder = new RecordEncoder(1024, 0);
    for (const payload of texts) encoder.add({ payload }, 1);
    const { bytes, start, end } = encoder.finish();
    this.delivered += texts.length;
    const origin = { channel: 'orders', senderOrg: 'GLOBEX', senderNode: 'shop' };
    const placed = { ...origin, offset, deliveryCount, storedMs: 1_700_000_000_000 };
    return this.#call.write(encodePlaced(placed, { bytes: bytes.subarray(start, end), count: texts.length }));
  }

  notice(event: ConsumeNotice['event']): void {
    this.#call.write(Buffer.from(ConsumeResponse.encode(ConsumeResponse.fromPartial({ notice: { event } })).finish()));
  }

  /** Settles what was acknowledged while `settles` was false. */
  settle(): void {
    for (const ackId of this.#unsettled.splice(0)) this.notice({ $case: 'settled', value: { ackId } });
  }

  end(error: FedgateError = lost()): void {
    fail(this.#call, error);
  }

  /** Ends after a half-close. */
  finish(): void {
    this.#call.end();
  }

  #take(frame: ConsumeRequest['frame']): void {
    if (frame?.$case === 'credit') {
      this.credit += frame.value.records;
      this.creditFrames++;
    } else if (frame?.$case === 'ack') {
      this.acks.push(rangesOf(frame.value));
      this.#unsettled.push(frame.value.ackId);
    } else if (frame?.$case === 'nack') {
      const { delayMs, reason, deadLetter, ackId } = frame.value;
      this.nacks.push({ ranges: rangesOf(frame.value), delayMs, reason, deadLetter });
      this.#unsettled.push(ackId);
    } else if (frame?.$case === 'inProgress') this.inProgress.push(rangesOf(frame.value));
    if (this.settles) this.settle();
  }

  #change(change: () => void): void {
    change();
    for (const resume of this.#changed.splice(0)) resume();
  }
}

const rangesOf = ({ ranges }: { readonly ranges: readonly { first: bigint; last: bigint }[] }): Ranges =>
  ranges.map(({ first, last }) => [Number(first), Number(last)] as const);
