import { X509Certificate } from 'node:crypto';
import { type CallOptions, type Client, Metadata, type MethodDefinition } from '@grpc/grpc-js';
import { FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { openChannel } from '../transport/channel.js';
import { fromGrpcError } from '../transport/status.js';
import { DEFAULT_TIMEOUT_MS, throwIfAborted, untrusted } from './pinned-certificate.js';

/** The DNS name in the registry's certificate. */
export const registryDnsName = (federation: string): string => `registry.${federation}`;

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

export interface CallSettings {
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
