import test, { type ExecutionContext } from 'ava';
import { FedgateError, type Reason } from '../../src/errors.js';
import type { Download } from '../../src/files/types.js';
import type { OrgName } from '../../src/identity/names.js';
import { LANE } from '../../src/link/hello.js';
import { blockOf } from '../../src/wire/records.js';
import { recordBlock } from '../support/attack.js';
import { ACME, GLOBEX } from '../support/durable-side.js';
import { bytesAt, FakeHolder, forever, MIB, readAll, request } from '../support/files-side.js';
import { Members, PeerGateway } from '../support/peer-gateway.js';

/** ACME and GLOBEX, each with a content. Nobody has an address yet. */
async function scene(t: ExecutionContext, { old = [] as readonly OrgName[], linkWaitMs = 10_000 } = {}) {
  const members = new Members();
  const [acme, globex] = [await members.add(ACME), await members.add(GLOBEX)];
  const alarms: FedgateError[] = [];
  const open = async (org: OrgName, member: typeof acme) => {
    const holder = new FakeHolder(org, 6 * MIB + 5);
    const timing = { linkWaitMs };
    const files = { holder, timing, onAlarm: (error: FedgateError) => void alarms.push(error) };
    const gateway = await PeerGateway.open(t, members, org, member, old.includes(org) ? undefined : files);
    return { holder, gateway, peers: gateway.peers };
  };
  const sides = { acme: await open(ACME, acme), globex: await open(GLOBEX, globex) };
  const reachable = (...orgs: OrgName[]): void => {
    for (const org of orgs) members.addresses.set(org, [(org === ACME ? sides.acme : sides.globex).gateway.address]);
  };
  return { ...sides, members, alarms, reachable };
}

async function readWhole(t: ExecutionContext, download: Download): Promise<void> {
  const pieces = await Promise.all(Array.from({ length: 7 }, (_, piece) => readAll(download, piece)));
  for (const [piece, bytes] of pieces.entries())
    t.true(bytes.equals(bytesAt(piece, 0, piece === 6 ? 5 : MIB)), `piece ${piece}`);
  download.close(true);
}

async function refused(t: ExecutionContext, work: Promise<unknown>, reason: Reason): Promise<void> {
  const error = await t.throwsAsync(work, { instanceOf: FedgateError });
  t.is(error?.reason, reason);
}

test('files link: the side that dials fetches', async t => {
  const { acme, globex, reachable, alarms } = await scene(t);
  reachable(GLOBEX);
  const download = await acme.peers.openShare(GLOBEX, 'press', request(), forever);
  t.is(acme.peers.get(GLOBEX)?.link?.dialled, true);
  await readWhole(t, download);
  t.deepEqual(globex.holder.opened[0]?.asker, { org: ACME, node: 'press' });
  t.deepEqual(alarms, []);
});

test('files link: the side that can only be dialled fetches', async t => {
  const { acme, globex, reachable } = await scene(t);
  reachable(GLOBEX);
  acme.peers.want(GLOBEX);
  const download = await globex.peers.openShare(ACME, 'press', request(), forever);
  t.is(globex.peers.get(ACME)?.link?.dialled, false);
  await readWhole(t, download);
  t.deepEqual(acme.holder.opened[0]?.asker, { org: GLOBEX, node: 'press' });
});

test('files link: both fetch at the same time, also when both dial at the same time', async t => {
  const { acme, globex, reachable, alarms } = await scene(t);
  reachable(ACME, GLOBEX);
  // Of two links one is given up, and its downloads with it: whoever asks opens them again.
  const fetch = async (from: typeof acme, org: OrgName): Promise<void> => {
    for (;;) {
      try {
        return await readWhole(t, await from.peers.openShare(org, 'press', request(), forever));
      } catch (error) {
        if (!(error instanceof FedgateError) || !error.retryable) throw error;
      }
    }
  };
  await Promise.all([fetch(acme, GLOBEX), fetch(globex, ACME)]);
  t.deepEqual(alarms, []);
});

test('files link: a gateway of an earlier version has no files, and messages reach it as before', async t => {
  for (const old of [ACME, GLOBEX]) {
    const { acme, globex, reachable } = await scene(t, { old: [old] });
    reachable(GLOBEX);
    const batch = { channel: 'orders', senderNode: 'x', records: blockOf(recordBlock('hello').bytes), patienceMs: 0 };
    t.like(await acme.peers.send(GLOBEX, batch), { subscribers: 1 });
    await refused(t, acme.peers.openShare(GLOBEX, 'press', request(), forever), 'FEATURE_UNSUPPORTED');
    await refused(t, globex.peers.openShare(ACME, 'press', request(), forever), 'FEATURE_UNSUPPORTED');
    t.false(acme.peers.get(GLOBEX)?.link?.has(LANE.files));
    t.like(await acme.peers.send(GLOBEX, batch), { subscribers: 1 });
  }
});

test('files link: who waits for a link to such a gateway is told', async t => {
  const { globex, acme, reachable } = await scene(t, { old: [ACME], linkWaitMs: 60_000 });
  const opening = globex.peers.openShare(ACME, 'press', request(), forever);
  reachable(GLOBEX);
  acme.peers.want(GLOBEX);
  await refused(t, opening, 'FEATURE_UNSUPPORTED');
});

test('files link: without a way to the holder it is waited for a while only, or until the caller gives up', async t => {
  const { acme } = await scene(t, { linkWaitMs: 100 });
  await refused(t, acme.peers.openShare(GLOBEX, 'press', request(), forever), 'PEER_UNREACHABLE');
  const giveUp = new AbortController();
  const opening = acme.peers.openShare(GLOBEX, 'press', request(), giveUp.signal);
  giveUp.abort();
  await refused(t, opening, 'CANCELLED');
  await refused(t, acme.peers.openShare('NOBODY' as OrgName, 'press', request(), forever), 'ORG_UNKNOWN');
});

test('files link: when the link drops its downloads end, and are opened again on the next', async t => {
  const { acme, globex, reachable } = await scene(t);
  reachable(GLOBEX);
  const asked = request();
  const download = await acme.peers.openShare(GLOBEX, 'press', asked, forever);
  let chunks = 0;
  globex.holder.pace = () => (++chunks > 2 ? new Promise(() => undefined) : undefined);
  const reading = (async () => {
    for await (const _ of download.readPiece(0, 0, forever))
      globex.peers.get(ACME)?.link?.close(new FedgateError('PEER_UNREACHABLE', 'cut'));
  })();
  await refused(t, reading, 'PEER_UNREACHABLE');
  t.is((download.ended.reason as FedgateError).reason, 'PEER_UNREACHABLE');
  globex.holder.pace = () => undefined;
  await readWhole(t, await acme.peers.openShare(GLOBEX, 'press', asked, forever));
  t.deepEqual(
    globex.holder.opened.map(({ request: { downloadId } }) => downloadId),
    [asked.downloadId, asked.downloadId],
  );
  while (globex.holder.openNow > 0) await new Promise(resolve => setTimeout(resolve, 5));
  t.deepEqual(
    globex.holder.opened.map(({ complete }) => complete),
    [false, true],
  );
});

test('files link: a manifest of the largest size passes in either direction', async t => {
  const members = new Members();
  const [one, other] = [await members.add(ACME), await members.add(GLOBEX)];
  const files = (org: OrgName) => ({ holder: new FakeHolder(org, 65_536 * MIB), onAlarm: () => undefined });
  const acme = await PeerGateway.open(t, members, ACME, one, files(ACME));
  const globex = await PeerGateway.open(t, members, GLOBEX, other, files(GLOBEX));
  members.addresses.set(GLOBEX, [globex.address]);
  const down = await acme.peers.openShare(GLOBEX, 'press', request(), forever);
  const up = await globex.peers.openShare(ACME, 'press', request(), forever);
  for (const { manifest } of [down, up]) t.is(manifest.pieces.length, 32 * 65_536);
});

test('files link: a gateway that stops ends its downloads at once', async t => {
  const { acme, globex, reachable } = await scene(t);
  reachable(GLOBEX);
  const download = await acme.peers.openShare(GLOBEX, 'press', request(), forever);
  const ended = new Promise(resolve => download.ended.addEventListener('abort', resolve, { once: true }));
  await globex.peers.close(60_000);
  await ended;
  t.is((download.ended.reason as FedgateError).reason, 'PEER_UNREACHABLE');
  t.is(globex.holder.openNow, 0);
});
