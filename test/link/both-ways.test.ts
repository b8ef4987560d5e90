import { createPrivateKey, X509Certificate } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { OrgName } from '../../src/identity/names.js';
import { LANE } from '../../src/link/hello.js';
import { recordBlock } from '../support/attack.js';
import { ACME, DurableSide, GLOBEX, outgoing } from '../support/durable-side.js';
import { type Member, Members, PeerGateway } from '../support/peer-gateway.js';
import { TestStore } from '../support/test-store.js';

/**
 * Both sides of a link send in bulk at once. Node reads nothing from a connection while a write of its own waits, so on one connection
 * two such sides would stand still as soon as more is on its way than their sockets keep: 16 MiB each way always is.
 */

const RECORDS = recordBlock(Buffer.alloc(200 * 1024, 'x'));
const BATCHES = 100;
/** It takes a second or two; what stands still does so until keepalive cuts the connection after 15 s, and then begins again. */
const WITHIN_MS = 30_000;

async function scene(t: ExecutionContext, old: readonly OrgName[] = []) {
  const members = new Members();
  const [acme, globex] = [await members.add(ACME), await members.add(GLOBEX)];
  const open = async (org: OrgName, member: Member) => {
    const side = await durableSide(org, member);
    const gateway = await PeerGateway.open(t, members, org, member, undefined, {
      durable: side.host,
      split: !old.includes(org),
    });
    return { org, side, peers: gateway.peers, gateway };
  };
  const sides = { acme: await open(ACME, acme), globex: await open(GLOBEX, globex) };
  members.addresses.set(GLOBEX, [sides.globex.gateway.address]);
  return sides;
}

function durableSide(org: OrgName, { identity: pair }: Member): Promise<DurableSide> {
  const leaf = new X509Certificate(pair.certificate);
  const identity = {
    org,
    role: 'gateway' as const,
    name: 'gw1',
    fingerprint: leaf.fingerprint256,
    certificate: leaf.raw,
    publicKey: leaf.publicKey,
    keyId: '',
    notBeforeMs: 0,
    notAfterMs: Date.parse(leaf.validTo),
  };
  return DurableSide.open({ org, pair, key: createPrivateKey(pair.key), identity }, new TestStore());
}

async function within(t: ExecutionContext, work: Promise<unknown>): Promise<void> {
  const inTime = new AbortController();
  const late = setTimeout(WITHIN_MS, 'it stands still', { signal: inTime.signal });
  late.catch(() => undefined);
  const done = work.then(
    () => 'done',
    (error: Error) => error.message,
  );
  t.is(await Promise.race([done, late]), 'done');
  inTime.abort();
}

type Side = Awaited<ReturnType<typeof scene>>['acme'];

const publishLive = (from: Side, to: OrgName, batches = BATCHES) =>
  Array.from({ length: batches }, (_, i) =>
    from.peers.send(to, { channel: `c${i}`, senderNode: 'x', records: RECORDS, patienceMs: 0 }),
  );

const publishDurable = async (from: Side, to: OrgName, batches = BATCHES): Promise<void> => {
  const outbox = from.side.to(to);
  const stored = await Promise.all(
    Array.from({ length: batches }, (_, i) => outbox.append(outgoing('', { channel: `c${i}`, records: RECORDS }))),
  );
  await Promise.all(stored.map(position => outbox.received(position, new AbortController().signal)));
};

test.serial('both ways: live bulk of two gateways at once arrives on one link', async t => {
  const { acme, globex } = await scene(t);
  await acme.peers.send(GLOBEX, { channel: 'first', senderNode: 'x', records: recordBlock('x'), patienceMs: 0 });
  const link = acme.peers.get(GLOBEX)?.link;
  await within(t, Promise.all([...publishLive(acme, GLOBEX), ...publishLive(globex, ACME)]));
  t.true(link?.usable && acme.peers.get(GLOBEX)?.link === link, 'it is the link of the beginning');
});

test.serial('both ways: durable bulk of two gateways at once arrives on one link', async t => {
  const { acme, globex } = await scene(t);
  const published = [publishDurable(acme, GLOBEX), publishDurable(globex, ACME)];
  acme.peers.want(GLOBEX);
  while (!acme.peers.get(GLOBEX)?.link) await setTimeout(5);
  const link = acme.peers.get(GLOBEX)?.link;
  await within(t, Promise.all(published));
  t.true(link?.usable && acme.peers.get(GLOBEX)?.link === link, 'it is the link of the beginning');
});

for (const old of [[ACME], [GLOBEX], [ACME, GLOBEX]]) {
  test.serial(`both ways: ${old.join(' and ')} without a lane for each direction links as before`, async t => {
    const { acme, globex } = await scene(t, old);
    const live = [...publishLive(acme, GLOBEX, 2), ...publishLive(globex, ACME, 2)];
    // GLOBEX cannot dial, and waits for the link that ACME makes.
    await within(t, Promise.allSettled(live));
    await within(t, Promise.all([...publishLive(acme, GLOBEX, 2), ...publishLive(globex, ACME, 2)]));
    await within(t, Promise.all([publishDurable(acme, GLOBEX, 2), publishDurable(globex, ACME, 2)]));
    for (const link of [acme.peers.get(GLOBEX)?.link, globex.peers.get(ACME)?.link]) {
      t.true(link?.has(LANE.durable));
      t.false(link?.has(LANE.durableBack));
    }
  });
}

for (const drainer of ['dialler', 'acceptor'] as const) {
  test.serial(`both ways: the ${drainer} that drains waits for its answers`, async t => {
    const { acme, globex } = await scene(t);
    await Promise.all(publishLive(acme, GLOBEX, 1));
    const [from, to] = drainer === 'dialler' ? [acme, globex] : [globex, acme];
    const link = from.peers.get(to.org)?.link;
    const answers = Promise.all(publishLive(from, to.org, 10));
    await within(t, Promise.all([answers, link?.drain('a test', 20_000), link?.closed]));
    t.is(link?.lostBatches, 0);
  });
}

test.serial('both ways: a gateway with a connection that stood still until it was cut can be stopped', async t => {
  const { acme, globex } = await scene(t, [ACME, GLOBEX]);
  await Promise.all(publishLive(acme, GLOBEX, 1));
  await Promise.allSettled([...publishLive(acme, GLOBEX), ...publishLive(globex, ACME)]);
  await within(t, Promise.all([acme.gateway.stop(), globex.gateway.stop()]));
});
