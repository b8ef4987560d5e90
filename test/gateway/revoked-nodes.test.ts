import { copyFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import { connect, type FedgateClient } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import { revokeNodeCertificates } from '../../src/gateway/revoke-node.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { fedgate } from '../support/cli.js';
import { startFederation, type TestOrg, take } from '../support/federation.js';
import type { TestScope } from '../support/registry.js';
import { failure, pair } from '../support/streams.js';

const ACCESS =
  'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"], respond: ["**"], request: ["**"], openStreams: ["**"], acceptStreams: ["**"], nodes: ["ACME"] }]';

async function connected(t: TestScope, context: string): Promise<FedgateClient> {
  const client = await connect({ context });
  t.teardown(() => client.close());
  return client;
}

const left = (org: TestOrg) =>
  org.logged(({ msg, err }) => msg.includes('refused') && err?.reason === 'CERTIFICATE_REVOKED');

test('revoke node: what it has open ends within 5 s, new calls are refused, others go on, a new certificate counts', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: ACCESS } });
  const context = await ACME.context('billing');
  const billing = await connected(t, context);
  const erp = await ACME.node('erp');
  const others = erp.subscribe('orders/*');
  const open = [billing.subscribe('orders/*'), billing.subscribe('orders/*', { durable: 'all' })] as const;
  const responding = billing.respond('quotes', () => 'x');
  await Promise.all([others.opened, ...open.map(({ opened }) => opened), responding.opened]);
  const ends = open.map(subscription => t.throwsAsync<FedgateError>(take(subscription as AsyncIterable<unknown>, 1)));
  // Of a byte stream the other end is told, too.
  const stream = await pair({ opener: billing, acceptor: erp }, channel => channel);
  const streamEnds = stream.map(failure);

  const { stdout } = await fedgate(['node', 'revoke', 'billing', '--dir', ACME.folder, '--json']);
  const { before } = JSON.parse(stdout) as { before: string };
  const revokedMs = performance.now();
  for (const end of ends) t.is((await end)?.reason, 'CERTIFICATE_REVOKED');
  t.is((await responding.closed)?.reason, 'CERTIFICATE_REVOKED');
  for (const end of streamEnds) t.is((await end)?.reason, 'CERTIFICATE_REVOKED');
  t.true(performance.now() - revokedMs < 5_000, `${performance.now() - revokedMs} ms`);
  t.is((await t.throwsAsync<FedgateError>(billing.publish('orders/x', 'no')))?.reason, 'CERTIFICATE_REVOKED');
  t.is((await t.throwsAsync<FedgateError>(connect({ context })))?.reason, 'CERTIFICATE_REVOKED');
  t.true((await left(ACME)).security);
  const seen = (await erp.nodes.list()).find(({ node }) => node === 'billing');
  t.is(seen?.state, 'left');

  // Made at once, when the second of the revocation may not be over yet.
  const again = await connected(t, await ACME.context('billing'));
  t.true(Date.now() >= Date.parse(before));
  await again.publish('orders/x', 'yes');
  t.is((await take(others, 1))[0]?.text, 'yes');
});

test('revoke node: one certificate of several, also across a restart and a file that got damaged', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: ACCESS } });
  const context = await ACME.context('billing');
  const old = join(dirname(context), 'old.crt');
  await copyFile(join(dirname(context), 'tls.crt'), old);
  const leaked = await connected(t, context);
  const kept = await connected(t, await ACME.context('billing'));
  const [ends, stays] = [leaked.subscribe('orders/*'), kept.subscribe('orders/*')];
  await Promise.all([ends.opened, stays.opened]);
  const end = t.throwsAsync<FedgateError>(take(ends, 1));
  await revokeNodeCertificates({ folder: ACME.folder, name: 'billing', certificate: old });
  t.is((await end)?.reason, 'CERTIFICATE_REVOKED');
  await kept.publish('orders/x', 'here');
  t.is((await take(stays, 1))[0]?.text, 'here');
  const somebodyElses = { folder: ACME.folder, name: 'erp', certificate: old };
  t.is((await t.throwsAsync<FedgateError>(revokeNodeCertificates(somebodyElses)))?.reason, 'FIELD_INVALID');

  await ACME.stop();
  await ACME.start();
  t.is((await t.throwsAsync<FedgateError>(leaked.publish('orders/x', 'no')))?.reason, 'CERTIFICATE_REVOKED');
  await writeFile(orgFolder(ACME.folder).revokedNodes, '{ "nodes": [');
  await ACME.logged(({ msg }) => msg.includes('those known stay revoked'));
  t.is((await t.throwsAsync<FedgateError>(leaked.publish('orders/x', 'no')))?.reason, 'CERTIFICATE_REVOKED');
  await kept.publish('orders/x', 'here');
  await ACME.stop();
  t.is((await t.throwsAsync<FedgateError>(ACME.start()))?.reason, 'FILE_UNUSABLE');
});
