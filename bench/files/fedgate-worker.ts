import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type FedgateClient, FedgateError } from '../../src/client/index.js';
import { letHeapGrow } from '../../src/heap-growth.js';
import type { Node } from '../federation.js';
import { serveWorker } from '../worker.js';
import { fetchedFile } from './transfer.js';

/** A program that uses the SDK: shares files, or fetches them. */

let client: FedgateClient | undefined;

const methods = {
  async connect(node: Node): Promise<void> {
    client = await connect(node);
  },

  /** Answers with the share's id when its gateway has all of it on stable storage. */
  async share({ path, org }: { path: string; org: string }): Promise<string> {
    const { id } = await connected().share(path, { audience: { orgs: [org] } });
    return id;
  },

  /** Answers when all are whole, verified and on stable storage, in files of `folder` named by number. */
  async fetch({ ids, folder }: { ids: readonly string[]; folder: string }): Promise<void> {
    await Promise.all(ids.map((id, i) => connected().fetch(id, { to: fetchedFile(folder, i), overwrite: true })));
  },

  /** Reads a share and throws it away. Answers with how many bytes came. */
  async drain(id: string): Promise<number> {
    let bytes = 0;
    for await (const chunk of await connected().fetchStream(id)) bytes += chunk.length;
    return bytes;
  },

  /** Accepts byte streams and counts what comes. Answers when it does. */
  async acceptBytes(channel: string): Promise<void> {
    const accepting = connected().acceptStreams(channel, stream => {
      let bytes = 0;
      stream.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      stream.on('end', () => stream.end(String(bytes)));
      stream.on('error', error => {
        throw error;
      });
    });
    await accepting.opened;
  },

  /** Sends so many bytes on one stream. Answers with how many came, once the other end has said so. */
  async sendBytes({ address, bytes }: { address: string; bytes: number }): Promise<number> {
    const stream = await connected().openStream(address);
    const chunk = randomBytes(256 * 1024);
    const answer = text(stream.iterator({ destroyOnReturn: false }));
    for (let left = bytes; left > 0; left -= chunk.length) {
      const piece = left < chunk.length ? chunk.subarray(0, left) : chunk;
      if (!stream.write(piece)) await once(stream, 'drain');
    }
    stream.end();
    return Number(await answer);
  },

  /** Answers when the gateway has a link to an organisation: a live message is answered, whether or not anybody hears it. */
  async reach(address: string): Promise<void> {
    for (let attempt = 0; attempt < 100; attempt++) {
      try {
        await connected().publish(address, 'hello', { delivery: 'live' });
        return;
      } catch (error) {
        if (!(error instanceof FedgateError && error.retryable)) throw error;
      }
      await sleep(100);
    }
    throw new Error(`no link for ${address}`);
  },
};

export type FileProgramMethods = typeof methods;
// As `fedgate share` and `fedgate fetch` do.
letHeapGrow('program');
serveWorker(methods);

function connected(): FedgateClient {
  if (!client) throw new Error('not connected');
  return client;
}
