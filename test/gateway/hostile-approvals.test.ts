import { createHash, createPrivateKey, type KeyObject, randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { Proposal } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { Exchange, LogEntry, ReceiptBody } from '../../gen/ts/fedgate/approvals/v1/exchange.js';
import { ReceiptBody as StreamReceipt } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { encodeStatement } from '../../src/approvals/statement/statement.js';
import type { ProposalFacts } from '../../src/approvals/types.js';
import type { FedgateClient } from '../../src/client/index.js';
import { FedgateError, type Reason } from '../../src/errors.js';
import type { KeyAndCertificate } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { signDetached } from '../../src/identity/signing.js';
import { fromRpcStatus } from '../../src/transport/status.js';
import { readRecords } from '../../src/wire/record-codec.js';
import { APPROVAL_ACCESS, addApprovers } from '../support/approval-federation.js';
import { ApprovalNode, rejection, signed } from '../support/approval-node.js';
import { approversOf, proposalOf, type TestKey, testKey } from '../support/approvals.js';
import { authorityOf, HostileGateway, pairIn, recordBlock } from '../support/attack.js';
import { allKnow, startTestOrg, type TestOrg } from '../support/federation.js';
import { audience, FileClient } from '../support/file-client.js';
import { HostileDurable } from '../support/hostile-durable.js';
import { FEDERATION, joinOrg, startTestRegistry } from '../support/registry.js';

/** ACME's gateway does not run: this file holds its key and says what it likes about proposals to GLOBEX. */
interface Scene {
  readonly acme: HostileGateway;
  /** INITECH's gateway does not run either. */
  readonly initech: KeyAndCertificate;
  readonly globex: TestOrg;
  readonly node: ApprovalNode;
  readonly client: FedgateClient;
  readonly files: FileClient;
  readonly keys: Readonly<Record<'ACME' | 'GLOBEX' | 'INITECH', TestKey>>;
}

let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const registry = await startTestRegistry(scope);
  const keys = { ACME: testKey('ACME'), GLOBEX: testKey('GLOBEX'), INITECH: testKey('INITECH') };
  const folder = await joinOrg(scope, registry, 'ACME', { addresses: ['127.0.0.1:1'] });
  await addApprovers(folder, { mallory: keys.ACME });
  const other = await joinOrg(scope, registry, 'INITECH');
  await addApprovers(other, { ian: keys.INITECH });
  const access = APPROVAL_ACCESS.replace(
    '{ org: "*", propose: true }',
    '{ org: ACME, propose: true, publish: ["**"] }',
  );
  const globex = await startTestOrg(scope, registry, 'GLOBEX', { access, extra: 'links: { dial: demand }' });
  await addApprovers(globex.folder, { gina: keys.GLOBEX });
  await allKnow(registry, [globex]);
  const identity = await pairIn(orgFolder(folder).gateway('gw1'));
  const acme = new HostileGateway(scope, 'ACME', identity, globex.gateway.peerAddress, [
    (await authorityOf(globex.folder)).certificate,
  ]);
  const context = await globex.context('release');
  const node = await ApprovalNode.of(scope, context);
  const files = await FileClient.of(scope, context);
  const initech = await pairIn(orgFolder(other).gateway('gw1'));
  scene = { acme, initech, globex, node, files, client: await globex.node('other'), keys };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

/** After each attack an honest offer over the same gateway's link is taken. */
const attack = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(`hostile approvals: ${title}`, async t => {
    scene.globex.events.length = 0;
    await run(t, scene);
    const { id } = await offered();
    t.is((await scene.node.get(id)).proposer, 'ACME');
  });

let sequence = 0;
const facts = (more: Partial<ProposalFacts> = {}): ProposalFacts =>
  proposalOf(Object.values(scene.keys), {
    ...{ id: randomBytes(16).toString('hex'), sequence: ++sequence, createdMs: Date.now(), notBeforeMs: Date.now() },
    ...{ notAfterMs: Date.now() + 3_600_000, threshold: 2, approvers: approversOf(Object.values(scene.keys)) },
    ...more,
  });

const say = (...what: NonNullable<Exchange['what']>[]): Buffer[] =>
  what.map(each => Buffer.from(Exchange.encode({ what: each }).finish()));
const offer = (proposal: ProposalFacts) => ({
  $case: 'offer' as const,
  value: { statement: encodeStatement({ kind: 'approval', proposal }), artifactShare: '', contentsShare: '' },
});

/** Sends records on the channel, and resolves with how the receipt says that they were taken: undefined for well. */
async function send(...records: Buffer[]): Promise<Reason | undefined> {
  const lane = await HostileDurable.open(scene.acme);
  const { body } = await lane.send({ channel: '$approvals', records: recordBlock(...records) }).receipt();
  lane.link.control.call.cancel();
  const [refusal] = StreamReceipt.decode(body).refusals;
  return refusal?.error && fromRpcStatus(refusal.error).reason;
}

async function offered(more: Partial<ProposalFacts> = {}) {
  const proposal = facts(more);
  const statement = encodeStatement({ kind: 'approval', proposal });
  const id = Buffer.from(proposal.id, 'hex');
  const seen = scene.node.until(id, () => true);
  await send(...say(offer(proposal)));
  await seen;
  return { id, proposal, statement };
}

/** By GLOBEX, which ACME and it may approve. */
async function proposedHere(): Promise<Proposal> {
  const { id: artifact } = await scene.files.share(Buffer.from('x'), { audience: audience({ anyone: true }) });
  return scene.node.propose({ artifactShare: artifact, artifactName: 'x', orgs: ['GLOBEX', 'ACME'] });
}

/** What GLOBEX's log says of a proposal. */
async function loggedAbout(id: Uint8Array): Promise<(string | undefined)[]> {
  const entries = (await scene.node.log()).map(({ entry }) => LogEntry.decode(entry));
  return entries.filter(({ proposalId }) => Buffer.from(proposalId).equals(id)).map(({ what }) => what?.$case);
}

const der = (certificate: string): Buffer => Buffer.from(certificate.replace(/-----[^-]+-----|\s/g, ''), 'base64');

const alarm = (reason: Reason) => scene.globex.logged(event => event.security === true && event.err?.reason === reason);
const refused = (reason: Reason) => scene.globex.logged(event => event.err?.reason === reason);

attack('what is no message is refused, and the lane goes on', async t => {
  t.is(await send(randomBytes(100), Buffer.from([0xff])), 'FRAME_MALFORMED');
  t.is(await send(...say(offer(facts())), Buffer.from([0xff])), 'FRAME_MALFORMED');
  t.is(await send(Buffer.alloc(0)), undefined);
});

attack("a ballot that another organisation's key signed is not taken from ACME", async t => {
  const { id, statement } = await offered();
  await send(...say({ $case: 'ballot', value: { envelope: signed(statement, scene.keys.INITECH) } }));
  await send(...say({ $case: 'ballot', value: { envelope: rejection({ statement }, scene.keys.GLOBEX) } }));
  await send(...say({ $case: 'ballot', value: { envelope: signed(statement, scene.keys.ACME) } }));
  const seen = await scene.node.until(id, ({ approved }) => approved === 1);
  const votes = seen.standings.map(({ org, votes: cast }) => [org, cast.filter(({ counts }) => counts).length]);
  t.deepEqual(votes, [
    ['ACME', 1],
    ['GLOBEX', 0],
    ['INITECH', 0],
  ]);
});

attack('a proposal in the name of another organisation, or under an id that is taken, is not; and is told', async t => {
  await send(...say(offer(facts({ proposer: 'INITECH' as OrgName }))));
  await alarm('IDENTITY_MISMATCH');
  const { id, proposal, statement } = await offered();
  await send(...say(offer({ ...proposal, note: 'another text', sequence: ++sequence })));
  await alarm('PROPOSAL_FORKED');
  t.deepEqual(Buffer.from((await scene.node.get(id)).statement), statement);
});

attack('a proposal whose sequence is not higher is refused', async t => {
  const { proposal } = await offered();
  await send(...say(offer(facts({ sequence: proposal.sequence }))));
  await refused('PROPOSAL_STALE');
  t.pass();
});

attack('a receipt that nobody signed, or for what was never sent, is not taken', async t => {
  const { statement } = await offered();
  const body = randomBytes(80);
  const certificate = der(scene.acme.identity.certificate);
  const signature = signDetached('approval-receipt', scene.acme.key, body);
  const forged = { $case: 'receipt' as const, value: { body: statement, signature, certificate } };
  await send(...say({ $case: 'receipt', value: { body, signature, certificate } }, forged));
  await scene.globex.logged(({ msg, err }) => msg === 'refused' && err?.reason !== undefined);
  t.pass();
});

attack(
  'a receipt that is right but for its signature, its certificate or its signer is not kept, and is told',
  async (t, { acme, initech, node }) => {
    const { id, statementSha256 } = await proposedHere();
    const body = Buffer.from(
      ReceiptBody.encode({
        ...{ federation: FEDERATION, org: 'ACME', gateway: 'gw1', proposalId: id, subjectSha256: statementSha256 },
        ...{ receiveTimeMs: BigInt(Date.now()), logIndex: 1n, logHash: randomBytes(32) },
      }).finish(),
    );
    const receipt = (key: KeyObject, { certificate }: KeyAndCertificate) => ({
      $case: 'receipt' as const,
      value: { body, signature: signDetached('approval-receipt', key, body), certificate: der(certificate) },
    });
    const theirKey = createPrivateKey(initech.key);
    await send(...say(receipt(theirKey, acme.identity)));
    await alarm('RECEIPT_INVALID');
    await send(...say(receipt(theirKey, initech)));
    await alarm('CERTIFICATE_UNTRUSTED');
    // Signed with the right key, for something else than approvals.
    const signature = signDetached('receipt', acme.key, body);
    scene.globex.events.length = 0;
    await send(...say({ $case: 'receipt', value: { body, signature, certificate: der(acme.identity.certificate) } }));
    await alarm('RECEIPT_INVALID');
    t.false((await node.get(id)).standings.find(({ org }) => org === 'ACME')?.holds);
    t.deepEqual(await loggedAbout(id), ['offered', 'refused', 'refused', 'refused']);
    await send(...say(receipt(acme.key, acme.identity)));
    await node.until(id, ({ standings }) => standings.some(({ org, holds }) => org === 'ACME' && holds));
  },
);

attack("a recall of another organisation's proposal does nothing", async t => {
  const { id } = await proposedHere();
  await send(...say({ $case: 'recall', value: { proposalId: id, reason: 'mine now' } }));
  await scene.globex.logged(({ msg, err }) => msg === 'refused' && err !== undefined);
  t.is((await scene.node.get(id)).state, 1);
});

attack(
  'nodes cannot speak on the channel: neither their own nor, over a link, those of others',
  async (t, { acme, client }) => {
    for (const address of ['$approvals', 'pubsub://ACME/$approvals'])
      t.like(await t.throwsAsync(client.publish(address, 'x')), { reason: 'CHANNEL_RESERVED' });
    const link = await acme.link();
    link.mail.write(link.batch({ channel: '$approvals', records: recordBlock('x') }));
    const { error } = await link.outcome(1);
    t.is(error && fromRpcStatus(error).reason, 'CHANNEL_RESERVED');
    link.control.call.cancel();
  },
);

// Last, since it also refuses all that waited before.
attack('a gateway that does not know approvals is shown as one that refused, and not as silent', async (t, scene) => {
  const { acme, node } = scene;
  const { id } = await proposedHere();
  const lane = (await HostileDurable.open(acme)).credit();
  const refusal = new FedgateError('CHANNEL_RESERVED', 'no name that a node may publish to begins with $');
  const told = node.until(id, ({ standings }) => standings.some(each => each.refusal !== ''));
  for (let sequence = Number(lane.theirs.nextSequence), ours = false; !ours; sequence++) {
    const { sealed, header } = await lane.batch(sequence);
    ours = readRecords(sealed.records).some(({ payload }) => isAbout(payload, id));
    const batches = [{ headerSha256: createHash('sha256').update(sealed.header).digest(), refusal }];
    lane.put({ $case: 'receipt', value: lane.answer(sealed, header, { batches }) });
  }
  const { standings } = await told;
  t.like(
    standings.find(({ org }) => org === 'ACME'),
    { holds: false, refusal: 'CHANNEL_RESERVED: its gateway does not know approvals' },
  );
  t.deepEqual(await loggedAbout(id), ['offered', 'refused']);
  lane.link.control.call.cancel();
});

/** Whether a record offers a proposal. */
function isAbout(payload: Buffer, id: Uint8Array): boolean {
  const { what } = Exchange.decode(payload);
  return what?.$case === 'offer' && Buffer.from(what.value.statement).includes(Buffer.from(id).toString('hex'));
}
