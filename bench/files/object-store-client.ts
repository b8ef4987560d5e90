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

/** The object stores of a JetStream domain; undefined: of the server's own. */
export function objectStores(connection: NatsConnection, domain?: string): ObjectStores {
  const { jetstream } = requirePackage(JETSTREAM) as {
    jetstream(connection: NatsConnection, options: { domain?: string }): unknown;
  };
  const { Objm } = requirePackage(OBJECTS) as { Objm: new (client: unknown) => ObjectStores };
  return new Objm(jetstream(connection, domain === undefined ? {} : { domain }));
}
