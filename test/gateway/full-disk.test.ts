import { cp, rm, statfs, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { smallDisk } from '../store/small-disk.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { startTestRegistry } from '../support/registry.js';

const MIB = 1024 * 1024;
const ACCESS = 'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]';
const ADDRESS = 'pubsub://ACME/orders';

test('full disk: a gateway starts with no byte free, delivers what is stored, refuses what is new, and recovers by itself', async t => {
  const disk = await smallDisk(t, 32 * MIB);
  if (!disk) return;
  const registry = await startTestRegistry(t);
  const gateway = await GatewayProcess.prepare(t, registry, 'ACME', ACCESS, {
    extra: 'durable: { reserveBytes: 4194304 }',
  });
  const state = join(gateway.folder, 'state');
  await cp(state, join(disk, 'state'), { recursive: true });
  await rm(state, { recursive: true });
  await symlink(join(disk, 'state'), state);
  await gateway.start();
  const node = await gateway.node(t, 'shop');
  const durable = { durable: 'billing', from: 'earliest' } as const;
  const early = node.subscribe('orders', durable);
  await early.opened;
  for (const text of ['1', '2', '3']) await node.publish(ADDRESS, text);
  await early[Symbol.asyncDispose]();
  await gateway.kill();

  const filler = join(disk, 'filler');
  await writeFile(filler, Buffer.alloc(64 * MIB)).catch(() => undefined);
  t.is((await statfs(disk)).bavail, 0);
  const before = gateway.events.length;
  await gateway.start();
  const told = await gateway.logged(({ msg }) => msg === 'store', before);
  t.is(told.state, 'full');

  const late = node.subscribe('orders', durable);
  const heard: string[] = [];
  for await (const { text } of late) {
    heard.push(text);
    if (heard.length === 3) break;
  }
  t.deepEqual(heard, ['1', '2', '3']);
  await t.throwsAsync(node.publish(ADDRESS, '4'), { instanceOf: FedgateError, message: /the disk is full/ });

  await unlink(filler);
  await gateway.logged(({ msg, state: now }) => msg === 'store' && now === 'ok', before);
  await node.publish(ADDRESS, '5');
});
