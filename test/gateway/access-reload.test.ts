import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import { Deferred } from '../../src/client/deferred.js';
import { connect, type FedgateClient } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import type { FedgateError } from '../../src/errors.js';
import { addNode } from '../../src/gateway/add-node.js';
import { parseConfig } from '../../src/gateway/config.js';
import { startFedgate } from '../support/cli.js';
import { startFederation, take } from '../support/federation.js';
import { joinOrg, startTestRegistry } from '../support/registry.js';

const rules = (subscribe: string, respond: string) =>
  parseConfig(
    `listen: { nodes: 127.0.0.1:1, peers: 127.0.0.1:1 }
access: { nodes: [{ node: "*", publish: ["**"], subscribe: ${subscribe}, respond: ${respond}, request: ["**"] }] }`,
    'gateway.yaml',
  ).access;

test('access: a right that is gone ends what it opened, what is still granted stays', async t => {
  const { ACME } = await startFederation(t, {
    ACME: { access: 'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"], respond: ["**"], request: ["**"] }]' },
  });
  const client = await ACME.node('billing');
  const stays = client.subscribe('stays/*');
  const goes = [client.subscribe('goes/*'), client.subscribe('goes/*', { durable: 'goes' })] as const;
  const responding = client.respond('goes/q', () => 'x');
  await Promise.all([stays.opened, ...goes.map(({ opened }) => opened), responding.opened]);
  const ends = goes.map(subscription => t.throwsAsync<FedgateError>(take(subscription as AsyncIterable<unknown>, 1)));
  ACME.gateway.replaceAccess(rules('["stays/**"]', '[]'));
  for (const end of ends) t.is((await end)?.reason, 'NOT_GRANTED');
  t.is((await responding.closed)?.reason, 'NOT_GRANTED');
  t.is((await t.throwsAsync<FedgateError>(client.request('goes/q', 'x')))?.reason, 'NO_RESPONDERS');
  await client.publish('stays/x', 'here');
  t.is((await take(stays, 1))[0]?.text, 'here');
  // And back: what is granted again is given at once.
  ACME.gateway.replaceAccess(rules('["**"]', '["**"]'));
  await client.subscribe('goes/*').opened;
});

test('access: a right to share or to fetch that is gone ends what is under way', async t => {
  const { ACME } = await startFederation(t, {
    ACME: { access: 'nodes: [{ node: "*", share: ["*"], fetch: ["*"] }]' },
  });
  const [billing, erp] = [await ACME.node('billing'), await ACME.node('erp')];
  const audience = { anyone: true };
  const { id } = await billing.share(Readable.from([Buffer.alloc(64 * 1024 * 1024)]), { audience });
  const fetching = await erp.fetchStream(id);
  const bytes = fetching[Symbol.asyncIterator]();
  await bytes.next();
  const begun = new Deferred<void>();
  async function* silent(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(1024 * 1024);
    await begun.promise;
  }
  const sharing = billing.share(silent(), { audience, patienceMs: 1_000 });
  for await (const transfer of billing.watchTransfers()) if (transfer.kind === 'upload') break;
  ACME.gateway.replaceAccess(
    parseConfig(
      'listen: { nodes: 127.0.0.1:1, peers: 127.0.0.1:1 }\naccess: { nodes: [{ node: "*", share: ["ACME"] }] }',
      'gateway.yaml',
    ).access,
  );
  t.is((await t.throwsAsync<FedgateError>(sharing))?.reason, 'NOT_GRANTED');
  begun.resolve();
  const rest = async (): Promise<void> => {
    while (!(await bytes.next()).done);
  };
  t.is((await t.throwsAsync<FedgateError>(rest))?.reason, 'NOT_GRANTED');
});

test('gateway run: SIGHUP reads `access` again; a file with an error changes nothing', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const [nodes, peers] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const file = join(folder, 'gateway.yaml');
  const config = (subscribe: string): string =>
    `listen: { nodes: "${nodes}", peers: "${peers}" }\naccess: { nodes: [{ node: "*", subscribe: ${subscribe} }] }\n`;
  await writeFile(file, config('["**"]'));
  const gateway = startFedgate(t, ['gateway', 'run', '--config', file], { FEDGATE_LOG_FORMAT: 'json' });
  await gateway.printed('gateway started');
  const context = await addNode({ folder, name: 'billing', gateway: 'gw1', address: nodes });
  const client: FedgateClient = await connect({ context });
  t.teardown(() => client.close());
  const subscription = client.subscribe('orders/*');
  await subscription.opened;
  await writeFile(file, `${await readFile(file, 'utf8')}nonsense: 1\n`);
  gateway.child.kill('SIGHUP');
  await gateway.printed('the grants stay as they are');
  const end = t.throwsAsync<FedgateError>(take(subscription, 1));
  await writeFile(file, config('["invoices/*"]'));
  gateway.child.kill('SIGHUP');
  await gateway.printed('grants read again');
  t.is((await end)?.reason, 'NOT_GRANTED');
});
