import { join } from 'node:path';
import { natsUnavailable, startNatsPair } from '../nats.js';
import { type CommonMethods, Worker } from '../worker.js';
import { OBJECT_STORE_PACKAGES } from './object-store-client.js';
import type { ObjectStoreMethods } from './object-store-worker.js';
import type { SourceFile } from './source.js';
import { checkDigests, type FileCarrier, measureTransfer, patienceMs, timed } from './transfer.js';

const start = (name: string): Worker<ObjectStoreMethods & CommonMethods> =>
  new Worker(name, new URL('./object-store-worker.js', import.meta.url));

/**
 * Sender → object store in one JetStream domain → leaf node connection → receiver in the other domain, TLS on every hop. The first server
 * stores without syncing, the second only passes on; the receiver writes and syncs as in the other systems. `nats-native`: the client hashes
 * with Node's SHA-256.
 */
export const createObjectStoreCarrier = (name: 'nats' | 'nats-native'): FileCarrier<typeof name> => ({
  name,
  unavailable: () => natsUnavailable(OBJECT_STORE_PACKAGES),

  async transfer({ warmup, file }, folder) {
    const nativeHash = name === 'nats-native';
    await using servers = await startNatsPair({ jetStream: true });
    const { leaf, hub, leafClient, hubClient } = servers;
    await using receiver = start('nats receiver');
    await using sender = start('nats sender');
    await sender.call('create', leafClient);
    const put = async ({ path, bytes }: SourceFile, object: string): Promise<void> =>
      sender.call('put', { ...leafClient, file: path, name: object, nativeHash }, patienceMs(bytes));
    const get = async (expected: SourceFile, object: string): Promise<void> => {
      const wanted = { domain: 'leaf', name: object, nativeHash, path: join(folder, 'received') };
      const digest = await receiver.call('get', { ...hubClient, ...wanted }, patienceMs(expected.bytes));
      checkDigests(name, expected, [digest]);
    };
    await put(warmup, 'warmup');
    await get(warmup, 'warmup');
    return await measureTransfer(name, file.bytes, [sender, leaf, hub, receiver], async () => ({
      inSeconds: await timed(put(file, 'file')),
      outSeconds: await timed(get(file, 'file')),
    }));
  },
});
