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
    return await measureTransfer('relay', file.bytes, [sender, relayA, relayB, receiver], async () => {
      await send(file);
      return {};
    });
  },
};
