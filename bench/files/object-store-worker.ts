import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { NatsTarget } from '../nats.js';
import { connectNats } from '../nats-client.js';
import { serveWorker } from '../worker.js';
import { HashedFile } from './hashed-file.js';
import { objectStores } from './object-store-client.js';

/** A client that puts files into an object store, or gets them from that of another domain. */

const BUCKET = 'bench';
const CHUNK_BYTES = 128 * 1024;
/** How long the server may take for one chunk, milliseconds. */
const CHUNK_TIMEOUT_MS = 30_000;

const methods = {
  async create(target: NatsTarget): Promise<void> {
    await objectStores(await connectNats(target), { nativeHash: false }).create(BUCKET, { storage: 'file' });
  },

  /** Answers when the server has all of it. */
  async put({ file, name, nativeHash, ...target }: NatsTarget & Stored & { file: string }): Promise<void> {
    const store = await objectStores(await connectNats(target), { nativeHash }).open(BUCKET);
    const content = Readable.toWeb(createReadStream(file, { highWaterMark: CHUNK_BYTES }));
    const meta = { name, options: { max_chunk_size: CHUNK_BYTES } };
    await store.put(meta, content as ReadableStream<Uint8Array>, { timeout: CHUNK_TIMEOUT_MS });
  },

  /** Answers with its SHA-256 when all of it is on stable storage. */
  async get({ domain, name, path, nativeHash, ...target }: NatsTarget & Wanted): Promise<string> {
    const store = await objectStores(await connectNats(target), { domain, nativeHash }).open(BUCKET);
    const found = await store.get(name);
    if (!found) throw new Error(`${name} is not in the object store`);
    const file = new HashedFile(path);
    for await (const chunk of found.data) {
      if (!file.write(chunk)) await new Promise<void>(resolve => file.once('drain', resolve));
    }
    const error = await found.error;
    if (error) throw error;
    return await file.finish();
  },
};

export type ObjectStoreMethods = typeof methods;
serveWorker(methods);

interface Stored {
  readonly name: string;
  readonly nativeHash: boolean;
}

interface Wanted extends Stored {
  readonly domain: string;
  readonly path: string;
}
