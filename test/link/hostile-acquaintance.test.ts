import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { SignedSnapshot, Snapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import type { FedgateClient } from '../../src/client/index.js';
import type { Reason } from '../../src/errors.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { MAX_HANDED_SNAPSHOT_BYTES, PLACES_RATE, SNAPSHOT_PART_BYTES } from '../../src/link/acquaintance-terms.js';
import { signSnapshot } from '../../src/registry/snapshot.js';
import { authorityOf, frameBytes, HostileGateway, type HostileLink, otherFrame, pairIn } from '../support/attack.js';
import { allMet, startTestOrg, type TestOrg } from '../support/federation.js';
import { LIVE } from '../support/live.js';
import { joinOrg, memberClient, startTestRegistry, type TestRegistry } from '../support/registry.js';

/** Members whose gateways do not run: this file holds their keys and hands on what it likes to GLOBEX. HONEST is a third. */
interface Scene {
  readonly registry: TestRegistry;
  readonly globex: TestOrg;
  readonly honest: FedgateClient;
  readonly snapshotKey: KeyObject;
  /** An older snapshot than GLOBEX has, and the one it has. */
  readonly older: SignedSnapshot;
  readonly newest: SignedSnapshot;
  /** One that was not used for an attack yet: who lied is not listened to. */
  attacker(): HostileGateway;
}

const CAPABLE = { capabilities: ['live', 'acquaintance'] };
const ORGS = ['EVIL-A', 'EVIL-B', 'EVIL-C', 'EVIL-D', 'EVIL-E', 'EVIL-F'];
const ACCESS =
  'nodes: [{ node: "*", publish: ["pubsub://*/**"], subscribe: ["**"] }]\npeers: [{ org: "*", publish: ["**"] }]';

let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const registry = await startTestRegistry(scope);
  const folders: string[] = [];
  for (const org of ORGS) folders.push(await joinOrg(scope, registry, org));
  const older = await (await memberClient(scope, folders[0] ?? '')).getSnapshot();
  const links = 'links: { dial: demand }\nfinding: { acquaintance: { addresses: true } }';
  const globex = await startTestOrg(scope, registry, 'GLOBEX', { access: ACCESS, extra: links });
  const honest = await startTestOrg(scope, registry, 'HONEST', { access: ACCESS, extra: links });
  await allMet(registry, globex, honest);
  const snapshotKey = createPrivateKey(await readFile(`${registry.folder}/snapshot/tls.key`));
  const newest = await (await memberClient(scope, folders[0] ?? '')).getSnapshot();
  const authorities = [(await authorityOf(globex.folder)).certificate];
  const attackers: HostileGateway[] = [];
  for (const [i, org] of ORGS.entries()) {
    const identity = await pairIn(orgFolder(folders[i] ?? '').gateway('gw1'));
    attackers.push(new HostileGateway(scope, org, identity, globex.gateway.peerAddress, authorities));
  }
  const attacker = (): HostileGateway => {
    const next = attackers.shift();
    if (!next) throw new Error('no attacker is left');
    return next;
  };
  scene = { registry, globex, honest: await honest.node('n'), snapshotKey, older, newest, attacker };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const attack = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(title, async t => {
    const before = versionOf(scene.globex);
    scene.globex.events.length = 0;
    await run(t, scene);
    t.is(versionOf(scene.globex), before, 'the last good snapshot stays');
    const { subscribers } = await scene.honest.publish('pubsub://GLOBEX/proof', 'still here', LIVE);
    t.is(subscribers, 0, 'the gateway still serves others');
  });

const versionOf = ({ gateway }: TestOrg): bigint => gateway.status().registry?.snapshotVersion ?? 0n;
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
const refused = (reason: Reason) => scene.globex.logged(({ err }) => err?.reason === reason);

/** Offers a snapshot as one of that version, and hands over these bytes once they are asked for. */
async function handOn(link: HostileLink, version: bigint, signed: SignedSnapshot, bytes?: Uint8Array): Promise<void> {
  const whole = bytes ?? SignedSnapshot.encode(signed).finish();
  const known = { version, sha256: sha256(signed.snapshot), sizeBytes: whole.length };
  link.control.write(frameBytes({ $case: 'snapshotKnown', value: known }));
  await link.control.until(frame => {
    const other = otherFrame(frame);
    return other?.$case === 'snapshotWant' && other.value.version === version ? true : undefined;
  });
  for (let offset = 0; offset < whole.length; offset += SNAPSHOT_PART_BYTES) {
    const data = whole.subarray(offset, offset + SNAPSHOT_PART_BYTES);
    link.control.write(frameBytes({ $case: 'snapshotPart', value: { version, offset, data: Buffer.from(data) } }));
  }
}

/** A snapshot like another one but for what is changed. */
function changed(signed: SignedSnapshot, key: KeyObject, change: Partial<Snapshot>): SignedSnapshot {
  return signSnapshot({ ...Snapshot.decode(signed.snapshot), ...change }, key);
}

const stranger = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

attack(
  'hostile acquaintance: a forged snapshot changes nothing, and its sender is not listened to again',
  async (t, s) => {
    const gateway = s.attacker();
    const link = await gateway.link(77n, CAPABLE);
    const { version } = Snapshot.decode(s.newest.snapshot);
    const forged = changed(s.newest, createPrivateKey(stranger().export({ type: 'pkcs8', format: 'pem' })), {
      version: version + 10n,
      members: [],
    });
    await handOn(link, version + 10n, forged);
    const event = await refused('SNAPSHOT_INVALID');
    t.like(event, { security: true, org: gateway.org });
    // It is muted: the next offer is not asked for, while questions of its own are still answered.
    link.control.write(
      frameBytes({ $case: 'snapshotKnown', value: { version: version + 20n, sha256: Buffer.alloc(32), sizeBytes: 1 } }),
    );
    link.control.write(frameBytes({ $case: 'placesAsk', value: { id: 1n, org: 'NOBODY' } }));
    const told = await link.control.until(frame => {
      const other = otherFrame(frame);
      return other?.$case === 'placesTold' ? other.value : undefined;
    });
    t.deepEqual(told.places, []);
    t.is(link.control.received.filter(frame => otherFrame(frame)?.$case === 'snapshotWant').length, 1);
  },
);

attack('hostile acquaintance: an older snapshot under a newer number is refused', async (t, s) => {
  const link = await s.attacker().link(77n, CAPABLE);
  await handOn(link, Snapshot.decode(s.newest.snapshot).version + 30n, s.older);
  t.true((await refused('SNAPSHOT_STALE')).security);
});

attack('hostile acquaintance: bytes that are not what was offered are refused', async (t, s) => {
  const link = await s.attacker().link(77n, CAPABLE);
  const { version } = Snapshot.decode(s.newest.snapshot);
  const offered = changed(s.newest, s.snapshotKey, { version: version + 1n });
  const size = SignedSnapshot.encode(offered).finish().length;
  await handOn(link, version + 1n, offered, Buffer.alloc(size, 0xff));
  t.true((await refused('SNAPSHOT_INVALID')).security);
});

attack(
  'hostile acquaintance: two snapshots under one version that the registry signed raise the alarm of a fork',
  async (t, s) => {
    const link = await s.attacker().link(77n, CAPABLE);
    const now = s.newest;
    const { version } = Snapshot.decode(now.snapshot);
    const fork = changed(now, s.snapshotKey, { timeMs: 1n });
    await handOn(link, version, fork);
    t.true((await refused('SNAPSHOT_FORKED')).security);
  },
);

attack('hostile acquaintance: one that is too large is not asked for', async (t, s) => {
  const link = await s.attacker().link(77n, CAPABLE);
  const value = { version: 2n ** 60n, sha256: Buffer.alloc(32), sizeBytes: MAX_HANDED_SNAPSHOT_BYTES + 1 };
  link.control.write(frameBytes({ $case: 'snapshotKnown', value }));
  t.true((await refused('SNAPSHOT_INVALID')).security);
  t.false(link.control.received.some(frame => otherFrame(frame)?.$case === 'snapshotWant'));
});

attack('hostile acquaintance: frames that break the rules end the link of who sent them', async (t, s) => {
  const gateway = s.attacker();
  const part = { version: 1n, offset: 0, data: Buffer.from('x') };
  const place = { gateway: 'gw1', address: '203.0.113.1:1' };
  const want = frameBytes({ $case: 'snapshotWant', value: { version: 2n ** 50n } });
  const cases: readonly [Reason, readonly Buffer[]][] = [
    ['FRAME_UNEXPECTED', [frameBytes({ $case: 'snapshotPart', value: part })]],
    ['FRAME_UNEXPECTED', [want]],
    [
      'FIELD_INVALID',
      [frameBytes({ $case: 'snapshotKnown', value: { version: 9n, sha256: Buffer.alloc(3), sizeBytes: 1 } })],
    ],
    ['FRAME_UNEXPECTED', [frameBytes({ $case: 'placesTold', value: { id: 1n, places: [place] } })]],
    ['FIELD_INVALID', [frameBytes({ $case: 'placesAsk', value: { id: 1n, org: 'not an org' } })]],
    ['FRAME_UNEXPECTED', [1n, 1n].map(id => frameBytes({ $case: 'placesAsk', value: { id, org: 'HONEST' } }))],
  ];
  for (const [reason, frames] of cases) {
    const link = await gateway.link(77n, CAPABLE);
    for (const frame of frames) link.control.write(frame);
    t.is((await link.control.ended)?.reason, reason);
  }
  // Without the capability none of it is known.
  const old = await gateway.link();
  old.control.write(frameBytes({ $case: 'placesAsk', value: { id: 1n, org: 'HONEST' } }));
  t.is((await old.control.ended)?.reason, 'FRAME_UNEXPECTED');
  // A snapshot is handed over once for each time that it is told.
  const greedy = await gateway.link(77n, CAPABLE);
  const known = await greedy.control.until(frame => {
    const other = otherFrame(frame);
    return other?.$case === 'snapshotKnown' ? other.value : undefined;
  });
  const ask = frameBytes({ $case: 'snapshotWant', value: { version: known.version } });
  greedy.control.write(ask).write(ask);
  t.is((await greedy.control.ended)?.reason, 'FRAME_UNEXPECTED');
  // Questions beyond the rate are answered with nothing.
  const curious = await gateway.link(77n, CAPABLE);
  const asked = PLACES_RATE.burst + 30;
  for (let id = 1n; id <= asked; id++)
    curious.control.write(frameBytes({ $case: 'placesAsk', value: { id, org: 'HONEST' } }));
  await curious.control.until(frame => {
    const other = otherFrame(frame);
    return other?.$case === 'placesTold' && other.value.id === BigInt(asked) ? true : undefined;
  });
  t.pass();
});
