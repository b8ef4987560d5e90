import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Target } from '../bare-grpc.js';
import { makeOrg } from '../identities.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { FileRelayMethods } from './relay-worker.js';
import type { SourceFile } from './source.js';
import { checkDigests, type FileCarrier, measureTransfer, patienceMs } from './transfer.js';

const start = (name: string): Worker<FileRelayMethods & CommonMethods> =>
  new Worker(name, new URL('./relay-worker.js', import.meta.url));

/** Sender → relay A → relay B → receiver: four processes. The limit of the stack with what is hashed and synced at three places. */
export const relaySystem: FileCarrier<'relay'> = {
  name: 'relay',
  unavailable: async () => undefined,

  async transfer({ warmup, file }, folder) {
    const [acme, globex] = [await makeOrg('ACME'), await makeOrg('GLOBEX')];
    const authorities = [acme.authority.certificate, globex.authority.certificate];
    await using relayB = start('relay B');
    await using relayA = start('relay A');
    await using receiver = start('receiver');
    await using sender = start('sender');
    const atB = await relayB.call('relay', { identity: globex.gateway, authorities, path: join(folder, 'relay-b') });
    const next: Target = { address: atB, serverName: globex.serverName, identity: acme.gateway, authorities };
    const ownA = { identity: acme.gateway, authorities, path: join(folder, 'relay-a') };
    const atA: Target = {
      address: await relayA.call('relay', { ...ownA, next }),
      serverName: acme.serverName,
      identity: acme.node,
      authorities,
    };
    const send = async ({ path, bytes, sha256 }: SourceFile): Promise<void> => {
      await receiver.call('receive', { ...next, identity: globex.node, path: join(folder, 'received') });
      const digests = await Promise.all([
        sender.call('send', { ...atA, file: path }, patienceMs(bytes)),
        receiver.call('received', undefined, patienceMs(bytes)),
      ]);
      checkDigests('relay', { path, bytes, sha256 }, digests);
    };
    await send(warmup);
    const transfer = await measureTransfer('relay', file.bytes, [sender, relayA, relayB, receiver], async () => {
      await send(file);
      return {};
    });
    // Whoever comes next has as much memory for its files, and no page that was never used before.
    for (const name of ['relay-a', 'relay-b', 'received']) await rm(join(folder, name));
    return transfer;
  },
};
