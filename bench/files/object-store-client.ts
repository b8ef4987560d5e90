import { type NatsConnection, requirePackage, TRANSPORT } from '../nats-client.js';

/** The part of @nats-io/obj 3 and @nats-io/jetstream 3 that the benchmark calls. */

const JETSTREAM = '@nats-io/jetstream';
const OBJECTS = '@nats-io/obj';
export const OBJECT_STORE_PACKAGES = [TRANSPORT, JETSTREAM, OBJECTS] as const;

interface ObjectStore {
  put(
    meta: { readonly name: string; readonly options: { readonly max_chunk_size: number } },
    content: ReadableStream<Uint8Array>,
    options: { readonly timeout: number },
  ): Promise<unknown>;
  get(name: string): Promise<ObjectResult | null>;
}

export interface ObjectResult {
  readonly data: ReadableStream<Uint8Array>;
  /** Resolves to null when all came and its digest was right. */
  readonly error: Promise<Error | null>;
}

interface ObjectStores {
  create(bucket: string, options: { readonly storage: 'file' }): Promise<ObjectStore>;
  open(bucket: string): Promise<ObjectStore>;
}

export interface ObjectStoreOptions {
  /** The JetStream domain; undefined: the server's own. */
  readonly domain?: string;
  /** Whether the client hashes with Node's SHA-256 instead of one in JavaScript, which is what it does unless told. */
  readonly nativeHash: boolean;
}

export function objectStores(connection: NatsConnection, { domain, nativeHash }: ObjectStoreOptions): ObjectStores {
  const { jetstream } = requirePackage(JETSTREAM) as {
    jetstream(connection: NatsConnection, options: { domain?: string }): unknown;
  };
  const { Objm, setSha256Backend } = requirePackage(OBJECTS) as ObjectsModule;
  setSha256Backend(nativeHash ? 'native' : 'js');
  return new Objm(jetstream(connection, domain === undefined ? {} : { domain }));
}

interface ObjectsModule {
  readonly Objm: new (client: unknown) => ObjectStores;
  setSha256Backend(backend: 'native' | 'js'): void;
}
