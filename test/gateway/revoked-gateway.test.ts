import { join } from 'node:path';
import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { readPairIn } from '../../src/registry/server/folder.js';
import { fedgate } from '../support/cli.js';
import { startFederation, take } from '../support/federation.js';
import { refused } from '../support/reasons.js';
import { memberClient } from '../support/registry.js';

const access = (other: string): string =>
  `nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"] }]\npeers: [{ org: ${other}, publish: ["**"] }]`;

test('revoke gateway: its link is cut at every other gateway within 5 s, it comes no more, a new certificate counts', async t => {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: access('GLOBEX') },
    GLOBEX: { access: access('ACME') },
  });
  const [billing, shop] = [await ACME.node('billing'), await GLOBEX.node('shop')];
  const orders = shop.subscribe('orders/*', { durable: 'all' });
  await orders.opened;
  const texts = (async function* () {
    for await (const message of orders) {
      await message.ack();
      yield message.text;
    }
  })();
  await billing.publish('pubsub://GLOBEX/orders/x', 'before');
  t.is((await texts.next()).value, 'before');
  const stolen = await readPairIn(orgFolder(GLOBEX.folder).gateway('gw1'));
  const watching = await memberClient(t, GLOBEX.folder, { identity: stolen });
  const watched = watching.watchSnapshot(0n);
  await watched.next();
  const watchEnds = t.throwsAsync<FedgateError>(take(watched, 10));

  const revoke = ['org', 'revoke', 'gw1', '--dir', GLOBEX.folder];
  t.regex((await fedgate(revoke)).stderr, /--yes/);
  const { code, stderr } = await fedgate([...revoke, '--yes']);
  t.is(code, 0, stderr);
  t.regex(stderr, /fedgate gateway renew gw1/);
  const revokedMs = performance.now();
  const isRevoked = ({ err }: { err?: { reason?: string } }): boolean => err?.reason === 'CERTIFICATE_REVOKED';
  await ACME.logged(isRevoked);
  t.is((await watchEnds)?.reason, 'CERTIFICATE_REVOKED');
  t.true(performance.now() - revokedMs < 5_000, `${performance.now() - revokedMs} ms`);
  // It dials as well: that is refused, and a security event.
  await ACME.logged(event => isRevoked(event) && event.security === true);
  const live = billing.publish('pubsub://GLOBEX/orders/x', 'lost', { delivery: 'live' });
  t.is((await t.throwsAsync<FedgateError>(live))?.reason, 'PEER_UNREACHABLE');
  t.regex(ACME.gateway.status().links[0]?.lastError ?? '', /revoked/);
  const asking = await memberClient(t, GLOBEX.folder, { identity: stolen });
  await refused(t, 'CERTIFICATE_REVOKED', () => asking.getSnapshot());

  const renewed = await fedgate(['gateway', 'renew', 'gw1', '--dir', GLOBEX.folder, '--json']);
  t.is(JSON.parse(renewed.stdout).previous, join(GLOBEX.folder, 'gateways', 'gw1', 'previous.crt'));
  await billing.publish('pubsub://GLOBEX/orders/x', 'after');
  await GLOBEX.stop();
  await GLOBEX.start();
  t.is((await texts.next()).value, 'after');
  await refused(t, 'CERTIFICATE_REVOKED', () => asking.getSnapshot());
});
