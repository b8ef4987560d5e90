import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { Hello } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { FedgateClient } from '../../src/client/index.js';
import type { Reason } from '../../src/errors.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { LANE } from '../../src/link/hello.js';
import { encodeBatchFrame } from '../../src/wire/lane-frames.js';
import { EMPTY_BLOCK } from '../../src/wire/records.js';
import { authorityOf, frameBytes, HostileGateway, pairIn, recordBlock } from '../support/attack.js';
import { startTestOrg, type TestOrg } from '../support/federation.js';
import { type DurableLies, HostileDurable, nextEpoch, type ReceiptLies } from '../support/hostile-durable.js';
import { joinOrg, startTestRegistry } from '../support/registry.js';

/** ACME's gateway does not run: this file holds its key and says what it likes on the durable lane to GLOBEX. */
interface Scene {
  readonly acme: HostileGateway;
  readonly globex: TestOrg;
  readonly erp: FedgateClient;
}

const ACCESS =
  'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]\n' +
  'peers: [{ org: ACME, publish: ["orders/*"] }]';

let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const registry = await startTestRegistry(scope);
  const folder = await joinOrg(scope, registry, 'ACME', { addresses: ['127.0.0.1:1'] });
  const globex = await startTestOrg(scope, registry, 'GLOBEX', { access: ACCESS });
  const authorities = [(await authorityOf(globex.folder)).certificate];
  const identity = await pairIn(orgFolder(folder).gateway('gw1'));
  const acme = new HostileGateway(scope, 'ACME', identity, globex.gateway.peerAddress, authorities);
  scene = { acme, globex, erp: await globex.node('erp') };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

/** After each attack an honest lane of the same gateway works, and whatever waits for it comes. */
const attack = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(`hostile durable lane: ${title}`, async t => {
    scene.globex.events.length = 0;
    await run(t, scene);
    const honest = await HostileDurable.open(scene.acme);
    t.truthy((await honest.send().receipt()).body);
    honest.link.control.call.cancel();
  });

const alarm = (reason: Reason) => scene.globex.logged(event => event.security === true && event.err?.reason === reason);

const stranger = createPrivateKey(
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
);

async function endsWith(t: ExecutionContext, lane: HostileDurable, reason: Reason): Promise<void> {
  t.is((await lane.ended)?.reason, reason);
  t.is((await lane.link.control.ended)?.reason, reason);
  await alarm(reason);
}

const BATCH_LIES: readonly { readonly title: string; readonly lies: DurableLies; readonly reason: Reason }[] = [
  { title: 'leaves one out', lies: { sequence: 2n }, reason: 'FRAME_UNEXPECTED' },
  { title: 'has no number', lies: { sequence: 0n }, reason: 'FRAME_UNEXPECTED' },
  {
    title: 'begins an epoch in the middle',
    lies: { streamEpoch: 2n ** 63n, sequence: 7n },
    reason: 'FRAME_UNEXPECTED',
  },
  { title: 'is of an epoch that is over', lies: { streamEpoch: 1n }, reason: 'REPLAYED' },
  { title: 'is a live one', lies: { durable: false }, reason: 'REPLAYED' },
  { title: 'is for another organisation', lies: { recipientOrg: 'INITECH' }, reason: 'WRONG_RECIPIENT' },
  { title: 'is of another federation', lies: { federation: 'other.example' }, reason: 'FEDERATION_MISMATCH' },
  { title: 'is of another organisation', lies: { originOrg: 'INITECH' }, reason: 'IDENTITY_MISMATCH' },
  { title: 'is of another gateway', lies: { originGateway: 'gw2' }, reason: 'IDENTITY_MISMATCH' },
  { title: 'is signed by a stranger', lies: { key: stranger }, reason: 'SIGNATURE_INVALID' },
  { title: 'has another count than was signed', lies: { recordCount: 9 }, reason: 'SIGNATURE_INVALID' },
  {
    title: 'has other records than were signed',
    lies: { contentSha256: randomBytes(32) },
    reason: 'SIGNATURE_INVALID',
  },
];
for (const { title, lies, reason } of BATCH_LIES) {
  attack(`a batch that ${title} ends the link with ${reason}`, async (t, { acme }) => {
    // An epoch that has something in it, so that there is an old one too.
    const before = await HostileDurable.open(acme);
    await before.send().receipt();
    const lane = await HostileDurable.open(acme);
    lane.send(lies);
    await endsWith(t, lane, reason);
  });
}

attack('a batch that comes twice, on one lane or on the next, ends the link with REPLAYED', async (t, { acme }) => {
  const lane = await HostileDurable.open(acme);
  const sealed = encodeBatchFrame(lane.seal());
  lane.lane.write(sealed);
  await lane.receipt();
  lane.lane.write(sealed);
  await endsWith(t, lane, 'REPLAYED');
  const again = await HostileDurable.open(acme, { streamEpoch: lane.epoch, nextSequence: 2n });
  again.lane.write(sealed);
  await endsWith(t, again, 'REPLAYED');
});

attack('a durable batch on the mail lane ends the link with REPLAYED', async (t, { acme }) => {
  const lane = await HostileDurable.open(acme);
  lane.link.mail.write(encodeBatchFrame(lane.seal()));
  t.is((await lane.link.mail.ended)?.reason, 'REPLAYED');
});

attack('records beside the word that they are held back end the link', async (t, { acme }) => {
  const lane = await HostileDurable.open(acme);
  lane.lane.write(encodeBatchFrame({ ...lane.seal(), withheld: 1 }));
  t.is((await lane.ended)?.reason, 'FRAME_MALFORMED');
  const bare = await HostileDurable.open(acme);
  bare.lane.write(encodeBatchFrame({ ...bare.seal(), records: EMPTY_BLOCK }));
  t.is((await bare.ended)?.reason, 'FIELD_INVALID');
});

attack(
  'whatever reason there is to hold records back, the number is used up and nothing is believed',
  async (t, { acme }) => {
    const lane = await HostileDurable.open(acme);
    for (const withheld of [1, 2, 3, 99]) {
      const sealed = lane.seal({ records: recordBlock('never seen') });
      lane.lane.write(encodeBatchFrame({ ...sealed, records: EMPTY_BLOCK, withheld }));
    }
    lane.send();
    t.truthy((await lane.receipt()).body);
  },
);

attack('a sequence that is no number ends the lane at its hello', async (t, { acme }) => {
  const lies: readonly Partial<Hello>[] = [
    { nextSequence: 0n },
    { nextSequence: 2n ** 63n },
    { receivedEpoch: 1n, receivedSequence: 0n },
    { receivedEpoch: 0n, receivedSequence: 1n },
    { storeId: Buffer.alloc(3) },
    { streamEpoch: 0n },
  ];
  for (const lie of lies) await t.throwsAsync(HostileDurable.open(acme, lie), { message: /hello\./ });
});

attack('a durable lane of a link that is not there, or a second one, is refused', async (t, { acme }) => {
  const fields = { streamEpoch: nextEpoch(), storeId: randomBytes(16) };
  const lone = acme.lane().write(acme.hello(LANE.durable, randomBytes(16), fields));
  t.is((await lone.ended)?.reason, 'LINK_SUPERSEDED');
  const { link } = await HostileDurable.open(acme);
  const second = acme.lane().write(acme.hello(LANE.durable, link.linkId, fields));
  t.is((await second.ended)?.reason, 'LINK_SUPERSEDED');
});

attack('to go on behind what never came ends the link with WATERMARK_INVALID', async (t, { acme }) => {
  const before = await HostileDurable.open(acme);
  await before.send().receipt();
  const sameEpoch = await HostileDurable.open(acme, { streamEpoch: before.epoch, nextSequence: 9n });
  await endsWith(t, sameEpoch, 'WATERMARK_INVALID');
  const newEpoch = await HostileDurable.open(acme, { nextSequence: 2n });
  await endsWith(t, newEpoch, 'WATERMARK_INVALID');
});

/** Something of GLOBEX's waits for ACME: its first batch without a receipt. */
async function waiting({ acme, erp }: Scene, lies: Partial<Hello> = {}) {
  await erp.publish('pubsub://ACME/orders/x', 'for ACME', { delivery: 'durable' });
  const lane = await HostileDurable.open(acme, lies);
  const sequence = Number(lane.theirs.nextSequence);
  const first = await lane.credit().batch(sequence);
  return { lane, sequence, ...first };
}

const RECEIPT_LIES: readonly {
  readonly title: string;
  readonly lies: (sequence: number, epoch: bigint) => ReceiptLies;
  readonly reason: Reason;
}[] = [
  { title: 'for another batch', lies: () => ({ batches: [digest(randomBytes(32))] }), reason: 'RECEIPT_INVALID' },
  { title: 'without a digest', lies: () => ({ batches: [digest(undefined)] }), reason: 'RECEIPT_INVALID' },
  { title: 'with a gap before it', lies: sequence => ({ first: sequence + 1 }), reason: 'RECEIPT_INVALID' },
  { title: 'of another epoch', lies: (_, epoch) => ({ epoch: epoch + 1n }), reason: 'RECEIPT_INVALID' },
  { title: 'from 0 on', lies: () => ({ first: 0 }), reason: 'RECEIPT_INVALID' },
  { title: 'signed by a stranger', lies: () => ({ key: stranger }), reason: 'SIGNATURE_INVALID' },
  { title: 'of another gateway', lies: () => ({ recipientGateway: 'gw2' }), reason: 'RECEIPT_INVALID' },
  { title: "for another's stream", lies: () => ({ originOrg: 'INITECH' }), reason: 'RECEIPT_INVALID' },
  {
    title: 'for more batches than were sent',
    lies: () => ({ batches: Array.from({ length: 200 }, () => digest(randomBytes(32))) }),
    reason: 'WATERMARK_INVALID',
  },
  {
    title: 'for more batches than one may cover',
    lies: () => ({ batches: Array.from({ length: 300 }, () => digest(randomBytes(32))) }),
    reason: 'RECEIPT_INVALID',
  },
];
const digest = (headerSha256: Buffer | undefined) => ({ headerSha256, refusal: undefined });

for (const { title, lies, reason } of RECEIPT_LIES) {
  attack(`a receipt ${title} ends the link with ${reason}, and the batch comes again`, async (t, scene) => {
    const { lane, sealed, header, sequence } = await waiting(scene);
    const receipt = lane.answer(sealed, header, lies(sequence, header.streamEpoch));
    lane.put({ $case: 'receipt', value: receipt });
    await endsWith(t, lane, reason);
    const next = await HostileDurable.open(scene.acme);
    t.is(Number(next.theirs.nextSequence), sequence);
    t.deepEqual((await next.credit().batch(sequence)).sealed.header, sealed.header);
  });
}

attack('a receipt that comes twice ends the link with RECEIPT_INVALID', async (t, scene) => {
  const { lane, sealed, header } = await waiting(scene);
  const receipt = lane.answer(sealed, header);
  lane.put({ $case: 'receipt', value: receipt }).put({ $case: 'receipt', value: receipt });
  await endsWith(t, lane, 'RECEIPT_INVALID');
});

attack('to have what was never sent ends the link with WATERMARK_INVALID', async (t, scene) => {
  const { header, sequence } = await waiting(scene);
  const receivedEpoch = header.streamEpoch;
  const ahead = await HostileDurable.open(scene.acme, { receivedEpoch, receivedSequence: BigInt(sequence + 99) });
  await endsWith(t, ahead, 'WATERMARK_INVALID');
  const never = await HostileDurable.open(scene.acme, { receivedEpoch: receivedEpoch + 1n, receivedSequence: 1n });
  await endsWith(t, never, 'WATERMARK_INVALID');
});

attack('to have forgotten what there are receipts for ends the link with WATERMARK_INVALID', async (t, scene) => {
  const { lane, sealed, header, sequence } = await waiting(scene);
  lane.put({ $case: 'receipt', value: lane.answer(sealed, header) });
  await scene.erp.publish('pubsub://ACME/orders/x', 'next', { delivery: 'durable' });
  await lane.batch(sequence + 1);
  // It caught up under a name of its own, and the receipt is known to have arrived.
  const known = { storeId: randomBytes(16), receivedEpoch: header.streamEpoch };
  const honest = await HostileDurable.open(scene.acme, { ...known, receivedSequence: BigInt(sequence) });
  t.is(Number(honest.theirs.nextSequence), sequence + 1);
  await honest.credit().batch(sequence + 1);
  const forgetful = await HostileDurable.open(scene.acme, { storeId: known.storeId });
  await endsWith(t, forgetful, 'WATERMARK_INVALID');
});

attack('credit that is taken back ends the link with FRAME_UNEXPECTED', async (t, { acme }) => {
  const lane = await HostileDurable.open(acme);
  lane.credit(1_000).credit(999);
  await endsWith(t, lane, 'FRAME_UNEXPECTED');
});

attack('without credit nothing is sent, and what is sent stays within it', async (t, scene) => {
  const { lane, sequence } = await waiting(scene);
  const poor = await HostileDurable.open(scene.acme);
  poor.credit(10);
  t.is((await poor.send().receipt()).body.length > 0, true);
  t.false(
    poor.lane.received.some(bytes => bytes.length > 400),
    'no batch came',
  );
  poor.credit();
  t.truthy(await poor.batch(sequence));
  lane.link.control.call.cancel();
});

attack(
  'an answer that nobody asked for ends the link, and questions without end cost no memory',
  async (t, { acme }) => {
    const lane = await HostileDurable.open(acme);
    const answer = { streamEpoch: 1n, sequence: 1n, records: Buffer.from('x') };
    lane.put({ $case: 'refetched', value: answer });
    await endsWith(t, lane, 'FRAME_UNEXPECTED');
    const curious = await HostileDurable.open(acme);
    for (let i = 0; i < 1_000; i++) curious.put({ $case: 'refetch', value: { streamEpoch: 1n, sequence: BigInt(i) } });
    t.truthy((await curious.send().receipt()).body);
  },
);

attack('frames of other lanes end the link with FRAME_UNEXPECTED', async (t, { acme }) => {
  const wrong = [
    frameBytes({ $case: 'ping', value: { nonce: 1n } }),
    frameBytes({ $case: 'drain', value: { reason: '', reconnectAfterMs: 0 } }),
    acme.hello(LANE.durable, randomBytes(16)),
  ];
  for (const bytes of wrong) {
    const lane = await HostileDurable.open(acme);
    lane.lane.write(bytes);
    await endsWith(t, lane, 'FRAME_UNEXPECTED');
  }
});

attack('notices that are none, or speak of what was never sent, change nothing', async (t, { acme }) => {
  const lane = await HostileDurable.open(acme);
  lane.send({ channel: '$notices', records: recordBlock('\xff\xff\xff') });
  lane.send({ channel: '$notices', records: recordBlock(Buffer.from('0a0a08ffffffffffffff7f1009', 'hex')) });
  lane.send({ channel: '$other' });
  t.truthy((await lane.receipt()).body);
});
