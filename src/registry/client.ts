import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { type CallOptions, type Client, Metadata, type MethodDefinition } from '@grpc/grpc-js';
import type { Member, SignedRecord, SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import {
  type CreateJoinChallengeRequest,
  type CreateJoinChallengeResponse,
  type JoinRequest,
  type JoinResponse,
  type ListMembersResponse,
  RegistryServiceService as methods,
} from '../../gen/ts/fedgate/registry/v1/registry_service.js';
import { describe, FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { parseHostPort } from '../identity/names.js';
import { openChannel } from '../transport/channel.js';
import { fromGrpcError } from '../transport/status.js';

/** The DNS name in the registry's certificate. */
export const registryDnsName = (federation: string): string => `registry.${federation}`;

/** Longest wait for an answer at one address, unless asked otherwise. */
const DEFAULT_TIMEOUT_MS = 5_000;
/** Room for some 30 thousand members. */
const MAX_SNAPSHOT_BYTES = 32 * 1024 * 1024;

export interface RegistryConnection {
  readonly federation: string;
  /** `host:port`, tried in order. */
  readonly addresses: readonly string[];
  /** PEM; the server must have this very certificate. */
  readonly certificate: string;
  /** The caller's own certificate. Undefined: it has none yet. */
  readonly identity?: KeyAndCertificate | undefined;
  /** Longest wait for an answer at one address, milliseconds. @default 5000 */
  readonly timeoutMs?: number;
}

interface CallSettings {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls one gRPC server that may be reached at several addresses and is known by its very certificate. A call goes to the address that
 * answered last, then to the others in order. Throws what the server says, REGISTRY_UNREACHABLE, or CANCELLED.
 */
export class RegistryCaller {
  readonly #connection: RegistryConnection;
  readonly #channels = new Map<string, Client>();
  #preferred: string | undefined;

  constructor(connection: RegistryConnection) {
    this.#connection = connection;
  }

  async unary<Req, Res>(method: MethodDefinition<Req, Res>, request: Req, { signal }: CallSettings = {}): Promise<Res> {
    let failure: FedgateError | undefined;
    for (const address of this.#inOrder()) {
      throwIfAborted(signal);
      try {
        const response = await this.#unaryAt(address, method, request, signal);
        this.#preferred = address;
        return response;
      } catch (error) {
        failure = error as FedgateError;
        if (!mayTryNext(failure)) throw failure;
      }
    }
    throw failure ?? new FedgateError('REGISTRY_UNREACHABLE', 'no address of the registry is known');
  }

  #inOrder(): string[] {
    const { addresses } = this.#connection;
    const preferred = this.#preferred;
    return preferred === undefined
      ? [...addresses]
      : [preferred, ...addresses.filter(address => address !== preferred)];
  }

  #unaryAt<Req, Res>(
    address: string,
    method: MethodDefinition<Req, Res>,
    request: Req,
    signal: AbortSignal | undefined,
  ): Promise<Res> {
    const options: CallOptions = { deadline: Date.now() + (this.#connection.timeoutMs ?? DEFAULT_TIMEOUT_MS) };
    return new Promise((resolve, reject) => {
      const cancel = (): void => call.cancel();
      const call = this.#channel(address).makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        options,
        (error, response) => {
          signal?.removeEventListener('abort', cancel);
          if (error) reject(named(error, address, signal));
          else resolve(response as Res);
        },
      );
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** One server stream, at the address that answered last. Ends when the server ends it or the signal fires. */
  async *stream<Req, Res>(
    method: MethodDefinition<Req, Res>,
    request: Req,
    { signal }: CallSettings = {},
  ): AsyncGenerator<Res> {
    throwIfAborted(signal);
    const [address = ''] = this.#inOrder();
    const call = this.#channel(address).makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
    );
    const cancel = (): void => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      for await (const message of call) yield message as Res;
    } catch (error) {
      throw named(error, address, signal);
    } finally {
      signal?.removeEventListener('abort', cancel);
      // What still comes in after this must not be an unhandled error.
      call.on('error', () => undefined);
      call.cancel();
    }
  }

  #channel(address: string): Client {
    const known = this.#channels.get(address);
    if (known) return known;
    const { federation, certificate, identity } = this.#connection;
    const pinned = new X509Certificate(certificate).raw;
    const channel = openChannel({
      address,
      serverName: registryDnsName(federation),
      authorities: [certificate],
      identity,
      checkServer: leaf => {
        if (!leaf.raw.equals(pinned)) throw untrusted(address);
      },
      window: 256 * 1024,
      maxReceiveBytes: MAX_SNAPSHOT_BYTES,
    });
    this.#channels.set(address, channel);
    return channel;
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }
}

/** The registry, as members and those about to join see it. */
export class RegistryClient {
  readonly #caller: RegistryCaller;

  constructor(connection: RegistryConnection) {
    this.#caller = new RegistryCaller(connection);
  }

  createJoinChallenge(
    request: CreateJoinChallengeRequest,
    settings?: CallSettings,
  ): Promise<CreateJoinChallengeResponse> {
    return this.#caller.unary(methods.createJoinChallenge, request, settings);
  }

  join(request: JoinRequest, settings?: CallSettings): Promise<JoinResponse> {
    return this.#caller.unary(methods.join, request, settings);
  }

  /** Returns the version of the first snapshot that holds the record. */
  async putRecord(record: SignedRecord, settings?: CallSettings): Promise<bigint> {
    const { snapshotVersion } = await this.#caller.unary(methods.putRecord, { record }, settings);
    return snapshotVersion;
  }

  async getMember(org: string, settings?: CallSettings): Promise<Member> {
    const { member } = await this.#caller.unary(methods.getMember, { org }, settings);
    return present(member);
  }

  listMembers(pageSize: number, pageToken: string, settings?: CallSettings): Promise<ListMembersResponse> {
    return this.#caller.unary(methods.listMembers, { pageSize, pageToken }, settings);
  }

  async getSnapshot(settings?: CallSettings): Promise<SignedSnapshot> {
    const { snapshot } = await this.#caller.unary(methods.getSnapshot, {}, settings);
    return present(snapshot);
  }

  /** Each new snapshot from now on; the newest at once unless it is `knownVersion`. */
  async *watchSnapshot(knownVersion: bigint, settings?: CallSettings): AsyncGenerator<SignedSnapshot> {
    for await (const { snapshot } of this.#caller.stream(methods.watchSnapshot, { knownVersion }, settings)) {
      yield present(snapshot);
    }
  }

  close(): void {
    this.#caller.close();
  }
}

/**
 * Reads the certificate of whoever answers at an address, and returns it (PEM) if it has the promised SHA-256 fingerprint.
 *
 * The one place where TLS is asked not to judge: the fingerprint, which came with the invitation, judges instead, and nothing is sent.
 * Throws REGISTRY_UNTRUSTED or REGISTRY_UNREACHABLE.
 */
export async function fetchPinnedCertificate(
  address: string,
  sha256: Uint8Array,
  { signal, timeoutMs = DEFAULT_TIMEOUT_MS }: CallSettings & { readonly timeoutMs?: number } = {},
): Promise<string> {
  const certificate = new X509Certificate(await readServerCertificate(address, timeoutMs, signal));
  const found = createHash('sha256').update(certificate.raw).digest();
  if (found.length !== sha256.length || !timingSafeEqual(found, sha256)) throw untrusted(address);
  return certificate.toString();
}

function readServerCertificate(address: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<Buffer> {
  throwIfAborted(signal);
  const { host, port } = parseHostPort(address, 'address');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] });
    const unreachable = (why: string, cause?: unknown): void =>
      finish(() =>
        reject(
          new FedgateError('REGISTRY_UNREACHABLE', `the registry at ${address} does not answer: ${why}`, { cause }),
        ),
      );
    const timer = setTimeout(() => unreachable(`nothing for ${timeoutMs} ms`), timeoutMs);
    const cancel = (): void => finish(() => reject(cancelled()));
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      socket.destroy();
      settle();
    };
    signal?.addEventListener('abort', cancel, { once: true });
    socket.once('secureConnect', () => {
      const { raw } = socket.getPeerCertificate();
      finish(() => (raw ? resolve(raw) : reject(untrusted(address))));
    });
    // Also after it was settled: a socket may fail while it is torn down.
    socket.on('error', error => unreachable(describe(error), error));
    socket.once('close', () => unreachable('it closed the connection'));
  });
}

/** Whether another address may do better: this one was not reached, or did not answer in time. */
const mayTryNext = ({ reason }: FedgateError): boolean =>
  reason === 'REGISTRY_UNREACHABLE' || reason === 'DEADLINE_EXCEEDED';

function named(error: unknown, address: string, signal: AbortSignal | undefined): FedgateError {
  const known = fromGrpcError(error, 'REGISTRY_UNREACHABLE');
  // A call that was cancelled, but not by us: the server stopped.
  const stopped = known.reason === 'CANCELLED' && !signal?.aborted;
  if (stopped) return new FedgateError('REGISTRY_UNREACHABLE', `the registry at ${address} stopped`, { cause: error });
  if (known.reason !== 'REGISTRY_UNREACHABLE') return known;
  // TLS found another certificate: grpc-js tells that only in words.
  const other = /certificate|self-signed|SSL routines/i.test(known.message) && !/ECONNRE/.test(known.message);
  if (other) return untrusted(address, known);
  return new FedgateError('REGISTRY_UNREACHABLE', `the registry at ${address} does not answer: ${known.message}`, {
    cause: error,
  });
}

const untrusted = (address: string, cause?: unknown): FedgateError =>
  new FedgateError('REGISTRY_UNTRUSTED', `${address}: whoever answers there does not have the registry's certificate`, {
    metadata: { address },
    ...(cause === undefined ? {} : { cause }),
  });

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new FedgateError('FRAME_MALFORMED', 'the registry left a field out of its answer');
  return value;
}

const cancelled = (): FedgateError => new FedgateError('CANCELLED', 'given up');

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled();
}
