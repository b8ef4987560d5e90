import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { FederationServiceService } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { MessagingServiceService, SubscribeRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { FedgateClient } from '../../src/client/index.js';
import type { FedgateError, Reason } from '../../src/errors.js';
import { issueLeaf } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { LANE } from '../../src/link/hello.js';
import { encodeBatchFrame } from '../../src/wire/lane-frames.js';
import { EMPTY_BLOCK } from '../../src/wire/records.js';
import {
  ask,
  authorityOf,
  type BatchLies,
  frameBytes,
  HostileGateway,
  type HostileLink,
  hello,
  pairIn,
  RawStream,
  recordBlock,
} from '../support/attack.js';
import { allMet, startTestOrg, type TestOrg, take } from '../support/federation.js';
import { LIVE } from '../support/live.js';
import { heldBytes } from '../support/memory.js';
import { FEDERATION, joinOrg, startTestRegistry } from '../support/registry.js';

/** ACME's gateway does not run: this file holds its key and says what it likes to GLOBEX. INITECH is an honest third. */
interface Scene {
  readonly acme: HostileGateway;
  readonly globex: TestOrg;
  readonly honest: FedgateClient;
  readonly erp: FedgateClient;
  readonly folder: string;
}

const ACCESS =
  'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]\n' +
  'peers: [{ org: ACME, publish: ["orders/*"] }, { org: INITECH, publish: ["orders/*"] }]';

/** More than a peer may have unanswered. */
const QUEUE_BYTES = 36 * 1024 * 1024;

let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const registry = await startTestRegistry(scope);
  const folder = await joinOrg(scope, registry, 'ACME', { addresses: ['127.0.0.1:1'] });
  const extra = `limits: { subscriptionQueueBytes: ${QUEUE_BYTES} }`;
  const globex = await startTestOrg(scope, registry, 'GLOBEX', { access: ACCESS, extra });
  const initech = await startTestOrg(scope, registry, 'INITECH');
  await allMet(registry, globex, initech);
  const authorities = [(await authorityOf(globex.folder)).certificate];
  const identity = await pairIn(orgFolder(folder).gateway('gw1'));
  const acme = new HostileGateway(scope, 'ACME', identity, globex.gateway.peerAddress, authorities);
  scene = { acme, globex, folder, honest: await initech.node('n'), erp: await globex.node('erp') };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

// Links of one gateway supersede each other, so these take turns.
const attack = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(title, async t => {
    scene.globex.events.length = 0;
    await run(t, scene);
    const { subscribers } = await scene.honest.publish('pubsub://GLOBEX/orders/proof', 'still here', LIVE);
    t.true(subscribers >= 0, 'the gateway still serves others');
  });

const securityEvent = (reason: Reason) =>
  scene.globex.logged(event => event.security === true && event.err?.reason === reason);

const stranger = createPrivateKey(
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
);

const LIES: readonly { readonly title: string; readonly lies: BatchLies; readonly reason: Reason }[] = [
  { title: 'claims another sender organisation', lies: { originOrg: 'INITECH' }, reason: 'IDENTITY_MISMATCH' },
  { title: 'claims another sending gateway', lies: { originGateway: 'gw2' }, reason: 'IDENTITY_MISMATCH' },
  { title: 'claims to come from the receiver itself', lies: { originOrg: 'GLOBEX' }, reason: 'IDENTITY_MISMATCH' },
  { title: 'is for a third organisation', lies: { recipientOrg: 'INITECH' }, reason: 'WRONG_RECIPIENT' },
  { title: 'is signed with another key', lies: { key: stranger }, reason: 'SIGNATURE_INVALID' },
  { title: 'is of another epoch', lies: { streamEpoch: 78n }, reason: 'REPLAYED' },
];
for (const { title, lies, reason } of LIES) {
  attack(`hostile peer: a batch that ${title} ends the link with ${reason}`, async (t, { acme }) => {
    const link = await acme.link();
    link.mail.write(link.batch(lies));
    t.is((await link.mail.ended)?.reason, reason);
    t.is((await link.control.ended)?.reason, reason);
    await securityEvent(reason);
  });
}

attack('hostile peer: content changed after signing ends the link with SIGNATURE_INVALID', async (t, { acme }) => {
  for (const records of [recordBlock('evil'), recordBlock('good', 'more'), { ...recordBlock('good'), count: 1 }]) {
    const link = await acme.link();
    const sealed = link.seal({ records: recordBlock('good', 'two') });
    link.mail.write(encodeBatchFrame({ ...sealed, records }));
    t.is((await link.mail.ended)?.reason, 'SIGNATURE_INVALID');
  }
  await securityEvent('SIGNATURE_INVALID');
});

attack('hostile peer: a signed count that is not the count of records ends the link', async (t, { acme }) => {
  const link = await acme.link();
  link.mail.write(link.batch({ records: { ...recordBlock('one', 'two'), count: 65_000 } }));
  t.is((await link.mail.ended)?.reason, 'SIGNATURE_INVALID');
});

attack('hostile peer: a header changed after signing ends the link with SIGNATURE_INVALID', async (t, { acme }) => {
  const link = await acme.link();
  const sealed = link.seal();
  const header = Buffer.from(sealed.header);
  header.write('orders/old', header.indexOf('orders/new'));
  link.mail.write(encodeBatchFrame({ ...sealed, header }));
  t.is((await link.mail.ended)?.reason, 'SIGNATURE_INVALID');
});

attack(
  'hostile peer: the same batch twice ends the link with REPLAYED and is delivered once',
  async (t, { acme, erp }) => {
    const subscription = erp.subscribe('orders/new');
    await subscription.opened;
    const received = take(subscription, 2);
    const link = await acme.link();
    const first = link.batch({ records: recordBlock('once') });
    link.mail.write(first);
    t.like(await link.outcome(1), { subscribers: 1, error: undefined });
    link.mail.write(first);
    t.is((await link.mail.ended)?.reason, 'REPLAYED');
    await securityEvent('REPLAYED');
    const next = await acme.link();
    next.mail.write(next.batch({ records: recordBlock('then') }));
    await next.outcome(1);
    t.deepEqual(
      (await received).map(message => message.text),
      ['once', 'then'],
    );
  },
);

attack('hostile peer: a batch captured on an earlier link ends the next with REPLAYED', async (t, { acme }) => {
  const earlier = await acme.link(1001n);
  const captured = earlier.batch();
  earlier.mail.write(captured);
  await earlier.outcome(1);
  const link = await acme.link(1002n);
  link.mail.write(captured);
  t.is((await link.mail.ended)?.reason, 'REPLAYED');
  await securityEvent('REPLAYED');
});

attack('hostile peer: a gap in the sequence ends the link with FRAME_UNEXPECTED', async (t, { acme }) => {
  const link = await acme.link();
  link.mail.write(link.batch({ sequence: 2 }));
  t.is((await link.mail.ended)?.reason, 'FRAME_UNEXPECTED');
});

const REFUSED: readonly { readonly lies: BatchLies; readonly reason: Reason; readonly event: boolean }[] = [
  { lies: { channel: 'secret' }, reason: 'NOT_GRANTED', event: true },
  { lies: { channel: 'orders/a/b' }, reason: 'NOT_GRANTED', event: true },
  { lies: { channel: '$x' }, reason: 'CHANNEL_RESERVED', event: true },
  { lies: { channel: 'orders/*' }, reason: 'FIELD_INVALID', event: false },
  { lies: { channel: 'orders/../x' }, reason: 'FIELD_INVALID', event: false },
  { lies: { channel: '' }, reason: 'FIELD_INVALID', event: false },
  { lies: { senderNode: 'n\u0000\nforged' }, reason: 'FIELD_INVALID', event: false },
  { lies: { senderNode: '' }, reason: 'FIELD_INVALID', event: false },
];
attack(
  'hostile peer: a batch for what is not granted is an answer, and the next good one is delivered',
  async (t, { acme }) => {
    const link = await acme.link();
    for (const { lies, reason, event } of REFUSED) {
      link.mail.write(link.batch(lies));
      const { error } = await link.outcome(link.sequence);
      t.true(
        Buffer.from(error?.details[0]?.value ?? []).includes(reason),
        `${JSON.stringify(lies)}: ${error?.message}`,
      );
      if (event) await securityEvent(reason);
    }
    link.mail.write(link.batch());
    t.is((await link.outcome(link.sequence)).error, undefined);
  },
);

attack('hostile peer: an outcome for a batch never sent ends the link with FRAME_UNEXPECTED', async (t, { acme }) => {
  const link = await acme.link();
  link.mail.write(
    frameBytes({
      $case: 'batchOutcome',
      value: { sequence: 1n, subscribers: 9, dropped: 0, error: undefined, inbox: 0 },
    }),
  );
  t.is((await link.mail.ended)?.reason, 'FRAME_UNEXPECTED');
  await scene.globex.logged(event => event.msg === 'refused' && event.err?.reason === 'FRAME_UNEXPECTED');
});

attack('hostile peer: a refusal with broken or endless details still settles the publish', async (t, { acme, erp }) => {
  const link = await acme.link();
  const report = erp.publish('pubsub://ACME/orders/x', 'for you', LIVE);
  await link.mail.until(bytes => (bytes.includes('for you') ? true : undefined));
  const typeUrl = 'type.googleapis.com/google.rpc.ErrorInfo';
  const error = { code: 7, message: 'x'.repeat(1_000_000), details: [{ typeUrl, value: Buffer.from([0xff, 0xff]) }] };
  link.mail.write(
    frameBytes({ $case: 'batchOutcome', value: { sequence: 1n, subscribers: 0, dropped: 0, error, inbox: 0 } }),
  );
  const refused = await t.throwsAsync<FedgateError>(report);
  t.is(refused?.reason, 'NOT_GRANTED');
  t.true((refused?.message.length ?? 0) < 1_000);
});

attack(
  'hostile peer: a link that ends before the answer leaves the publish with OUTCOME_UNKNOWN',
  async (t, { acme, erp }) => {
    const link = await acme.link();
    const report = t.throwsAsync<FedgateError>(erp.publish('pubsub://ACME/orders/x', 'for you', LIVE));
    await link.mail.until(bytes => (bytes.includes('for you') ? true : undefined));
    link.control.call.cancel();
    t.is((await report)?.reason, 'OUTCOME_UNKNOWN');
  },
);

attack('hostile peer: calling the services of nodes on the peer port is UNIMPLEMENTED', async (t, { acme }) => {
  const { publish, subscribe } = MessagingServiceService;
  for (const { path } of [publish, subscribe])
    t.is(((await ask(acme.channel(), path)) as FedgateError).status, 'UNIMPLEMENTED');
});

const id16 = randomBytes(16);
const HELLOS: readonly {
  readonly title: string;
  readonly change: Parameters<HostileGateway['hello']>[2];
  readonly reason: Reason;
  readonly event?: boolean;
}[] = [
  { title: 'another organisation', change: { org: 'INITECH' }, reason: 'IDENTITY_MISMATCH', event: true },
  { title: 'another gateway', change: { gateway: 'gw2' }, reason: 'IDENTITY_MISMATCH', event: true },
  { title: 'another federation', change: { federation: 'other.example' }, reason: 'FEDERATION_MISMATCH' },
  { title: 'version 99', change: { versionMin: 99, versionMax: 99 }, reason: 'VERSION_UNSUPPORTED' },
  { title: 'a short link_id', change: { linkId: Buffer.alloc(15) }, reason: 'FIELD_INVALID' },
  { title: 'an empty link_id', change: { linkId: Buffer.alloc(0) }, reason: 'FIELD_INVALID' },
  { title: 'no limits', change: { limits: undefined }, reason: 'FIELD_INVALID' },
  {
    title: 'limits of nothing',
    change: { limits: { maxBatchBytes: 0, maxBatchRecords: 0, maxInFlightBytes: 0 } },
    reason: 'FIELD_INVALID',
  },
  { title: 'a lane that is not known', change: { lane: 99 as never }, reason: 'FRAME_UNEXPECTED' },
  { title: 'no lane', change: { lane: 0 }, reason: 'FRAME_UNEXPECTED' },
];
attack('hostile peer: a hello with a lie ends the lane with its reason', async (t, { acme }) => {
  for (const { title, change, reason, event } of HELLOS) {
    const lane = acme.lane().write(acme.hello(LANE.control, id16, change));
    t.is((await lane.ended)?.reason, reason, title);
    if (event) await securityEvent(reason);
  }
});

attack(
  'hostile peer: a hello that is sent back to its author, or was captured from another, opens nothing',
  async (t, { acme }) => {
    const lane = acme.lane().write(acme.hello(LANE.control, randomBytes(16)));
    const theirs = await hello(lane);
    lane.call.cancel();
    const reflected = acme.lane().write(frameBytes({ $case: 'hello', value: theirs }));
    t.is((await reflected.ended)?.reason, 'IDENTITY_MISMATCH');
    await securityEvent('IDENTITY_MISMATCH');
    const captured = acme.hello(LANE.control, randomBytes(16), { org: 'INITECH' });
    t.is((await acme.lane().write(captured).ended)?.reason, 'IDENTITY_MISMATCH');
  },
);

attack('hostile peer: a method that is not there ends that call only', async (t, { acme }) => {
  const link = await acme.link();
  for (const path of ['/fedgate.federation.v1.FederationService/Nothing', '/nobody.Here/Ask', '/x'])
    t.is(((await ask(acme.channel(), path)) as FedgateError).status, 'UNIMPLEMENTED', path);
  link.mail.write(link.batch());
  t.is((await link.outcome(1)).error, undefined);
});

attack('hostile peer: a first frame that is no hello, or none that can be read, ends the lane', async (t, { acme }) => {
  const cases: readonly (readonly [Buffer, Reason])[] = [
    [frameBytes({ $case: 'ping', value: { nonce: 1n } }), 'FRAME_UNEXPECTED'],
    [frameBytes({ $case: 'drain', value: { reason: '', reconnectAfterMs: 0 } }), 'FRAME_UNEXPECTED'],
    [Buffer.alloc(0), 'FRAME_MALFORMED'],
    [Buffer.from([0x0a, 0x00]), 'FRAME_MALFORMED'],
    [Buffer.from([0x0a, 0x7f, 0x01]), 'FRAME_MALFORMED'],
    [acme.hello(LANE.control, id16).subarray(0, -3), 'FRAME_MALFORMED'],
    [Buffer.concat([acme.hello(LANE.control, id16), Buffer.from([0x10, 0x01])]), 'FRAME_MALFORMED'],
    [randomBytes(200).fill(0xff, 0, 12), 'FRAME_MALFORMED'],
  ];
  for (const [bytes, reason] of cases)
    t.is((await acme.lane().write(bytes).ended)?.reason, reason, bytes.toString('hex'));
});

attack('hostile peer: 300 lanes of random bytes end alone, each with a typed error', async (t, { acme }) => {
  const channel = acme.channel();
  const { path } = FederationServiceService.openLane;
  for (let round = 0; round < 30; round++) {
    const lanes = Array.from({ length: 10 }, () => new RawStream(channel, path).write(randomBytes(1 + round * 7)));
    for (const error of await Promise.all(lanes.map(lane => lane.ended)))
      t.true(
        ['FRAME_MALFORMED', 'FRAME_UNEXPECTED', 'FRAME_TOO_LARGE', 'FIELD_INVALID'].includes(error?.reason ?? ''),
        error?.reason,
      );
  }
});

attack(
  'hostile peer: a mail lane without a control lane, and one for a link that has both, are refused',
  async (t, { acme }) => {
    const alone = acme.lane().write(acme.hello(LANE.mail, randomBytes(16)));
    t.is((await alone.ended)?.reason, 'FRAME_UNEXPECTED');
    const linkId = randomBytes(16);
    const control = acme.lane().write(acme.hello(LANE.control, linkId));
    await hello(control);
    await hello(acme.lane().write(acme.hello(LANE.mail, linkId)));
    const third = acme.lane().write(acme.hello(LANE.mail, linkId));
    t.is((await third.ended)?.reason, 'FRAME_UNEXPECTED');
  },
);

attack('hostile peer: two control lanes of one link, and many that wait for mail, are refused', async (t, { acme }) => {
  const linkId = randomBytes(16);
  const first = acme.lane().write(acme.hello(LANE.control, linkId));
  await hello(first);
  const again = acme.lane().write(acme.hello(LANE.control, linkId));
  t.is((await again.ended)?.reason, 'FRAME_UNEXPECTED');
  const waiting: RawStream[] = [first];
  for (let i = 0; i < 3; i++) {
    const lane = acme.lane().write(acme.hello(LANE.control, randomBytes(16)));
    await hello(lane);
    waiting.push(lane);
  }
  const last = acme.lane().write(acme.hello(LANE.control, randomBytes(16)));
  t.is((await last.ended)?.reason, 'LIMIT_REACHED');
  for (const lane of waiting) lane.call.cancel();
});

attack('hostile peer: a frame on the wrong lane, and a second hello, end the link', async (t, { acme }) => {
  const wrong: readonly ((link: HostileLink) => RawStream)[] = [
    link => link.mail.write(frameBytes({ $case: 'ping', value: { nonce: 1n } })),
    link => link.mail.write(frameBytes({ $case: 'drain', value: { reason: 'x', reconnectAfterMs: 0 } })),
    link => link.control.write(link.batch()),
    link =>
      link.control.write(
        frameBytes({
          $case: 'batchOutcome',
          value: { sequence: 1n, subscribers: 0, dropped: 0, error: undefined, inbox: 0 },
        }),
      ),
    link => link.control.write(acme.hello(LANE.control, id16)),
    link => link.mail.write(acme.hello(LANE.mail, id16)),
  ];
  for (const [i, act] of wrong.entries()) {
    const link = await acme.link();
    act(link);
    const ends = await Promise.all([link.control.ended, link.mail.ended]);
    for (const end of ends) t.is(end?.reason, 'FRAME_UNEXPECTED', String(i));
  }
});

attack('hostile peer: bytes that are no frame end an open link with FRAME_MALFORMED', async (t, { acme }) => {
  const spoil: readonly ((link: HostileLink) => Buffer)[] = [
    () => Buffer.alloc(0),
    () => Buffer.from('ffffffffffffffffffffff', 'hex'),
    link => link.batch().subarray(0, -1),
    link => Buffer.concat([link.batch(), link.batch()]),
    // A kind of frame that is not known: field 100 of LaneFrame.
    () => Buffer.from([0x0a, 0x03, 0xa2, 0x06, 0x00]),
    // Records are held back in durable streams only.
    link => encodeBatchFrame({ ...link.seal(), records: EMPTY_BLOCK, withheld: 1 }),
    // An unknown field in the batch: field 7.
    () => Buffer.from([0x0a, 0x05, 0x2a, 0x03, 0x3a, 0x01, 0x00]),
    // Records without header and signature.
    () => Buffer.from([0x0a, 0x05, 0x2a, 0x03, 0x7a, 0x01, 0x00]),
  ];
  for (const [i, make] of spoil.entries()) {
    const link = await acme.link();
    link.mail.write(make(link));
    t.is((await link.mail.ended)?.reason, 'FRAME_MALFORMED', String(i));
    t.is((await link.control.ended)?.reason, 'FRAME_MALFORMED', String(i));
  }
});

attack(
  'hostile peer: a batch, a header and a record over the limits end the link with FRAME_TOO_LARGE',
  async (t, { acme }) => {
    const big = (count: number, size: number) =>
      recordBlock(...Array.from({ length: count }, () => Buffer.alloc(size)));
    const over: readonly ((link: HostileLink) => Buffer)[] = [
      link => link.batch({ records: big(3, 1_000_000) }),
      link => link.batch({ records: big(5, 1_000_000) }),
      link => link.batch({ records: big(1, 1024 * 1024 + 1) }),
      link => link.batch({ senderNode: 'n'.repeat(1_000_000) }),
    ];
    for (const [i, make] of over.entries()) {
      const link = await acme.link();
      link.mail.write(make(link));
      t.is((await link.mail.ended)?.reason, 'FRAME_TOO_LARGE', String(i));
    }
  },
);

attack(
  'hostile peer: patience ends where half of the unanswered bytes are held, so that the rest of its traffic goes on',
  async (t, { acme, erp }) => {
    // Subscribers that do not read make the gateway hold what comes with patience.
    const { path } = MessagingServiceService.subscribe;
    const request = Buffer.from(SubscribeRequest.encode({ pattern: 'orders/new' }).finish());
    const same = (bytes: Buffer): Buffer => bytes;
    const stalled = erp.channel.makeServerStreamRequest(path, same, same, request);
    stalled.on('error', () => undefined);
    await new Promise(resolve => stalled.once('readable', resolve));
    const link = await acme.link();
    const records = recordBlock(Buffer.alloc(1_000_000));
    for (let i = 0; i < 140; i++) link.mail.write(link.batch({ records, patienceMs: 60_000 }));
    // 140 MB were sent where 32 MiB may be without an answer: the last ones were not held.
    t.like(await link.outcome(link.sequence), { subscribers: 0, dropped: 1, error: undefined });
    t.is(scene.globex.gateway.status().links.find(each => each.org === 'ACME')?.state, 3);
    stalled.cancel();
  },
);

attack('hostile peer: pings whose answers are never read cost no memory', async (t, { acme }) => {
  const link = await acme.link();
  link.control.call.pause();
  const before = await heldBytes();
  const ping = frameBytes({ $case: 'ping', value: { nonce: 1n } });
  for (let i = 0; i < 40_000; i++) {
    if (!link.control.call.write(ping)) await new Promise(resolve => link.control.call.once('drain', resolve));
  }
  t.is(scene.globex.gateway.status().links.find(each => each.org === 'ACME')?.state, 3);
  const grown = ((await heldBytes()) - before) / 1e6;
  t.log(`${grown.toFixed(1)} MB more, both ends in one process`);
  t.true(grown < 12);
  link.control.call.cancel();
});

attack(
  'hostile peer: a certificate of another gateway of the same organisation makes its own link',
  async (t, { acme, folder, globex }) => {
    const identity = await issueLeaf(await authorityOf(folder), FEDERATION, {
      org: 'ACME' as OrgName,
      role: 'gateway',
      name: 'gw9',
    });
    const authorities = [(await authorityOf(globex.folder)).certificate];
    const other = new HostileGateway(t, 'ACME', identity, globex.gateway.peerAddress, authorities);
    const lane = other.lane().write(other.hello(LANE.control, randomBytes(16)));
    t.is((await lane.ended)?.reason, 'IDENTITY_MISMATCH', 'its hello says gw1');
    const stolen = await acme.link();
    const mail = other.lane().write(other.hello(LANE.mail, randomBytes(16), { gateway: 'gw9' }));
    t.is((await mail.ended)?.reason, 'FRAME_UNEXPECTED', 'it cannot add a lane to the link of gw1');
    stolen.mail.write(stolen.batch());
    t.is((await stolen.outcome(1)).error, undefined);
  },
);
