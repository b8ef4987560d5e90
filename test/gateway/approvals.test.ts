import test from 'ava';
import {
  Decision,
  type Proposal,
  ProposalState,
  type Standing,
  VoteKind,
} from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { LogEntry } from '../../gen/ts/fedgate/approvals/v1/exchange.js';
import { CHAIN_START, chainHash } from '../../src/approvals/log-chain.js';
import { parseEnvelope } from '../../src/approvals/statement/envelope.js';
import { pae } from '../../src/approvals/statement/pae.js';
import { addNode } from '../../src/gateway/add-node.js';
import { verifyWithApprovalKey } from '../../src/identity/approval-key.js';
import {
  APPROVAL_ACCESS,
  type ApprovalOrg,
  addApprovers,
  approvalOrg,
  QUICK_LINKS,
  startApprovalFederation,
} from '../support/approval-federation.js';
import { ApprovalNode, withdrawal } from '../support/approval-node.js';
import { testKey } from '../support/approvals.js';
import { allKnow, startTestOrg } from '../support/federation.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { startTestRegistry } from '../support/registry.js';

/** Three organisations with a real gateway each, and what becomes of a proposal between them. */

const {
  PROPOSAL_STATE_OPEN: OPEN,
  PROPOSAL_STATE_APPROVED: APPROVED,
  PROPOSAL_STATE_REJECTED: REJECTED,
  PROPOSAL_STATE_WITHDRAWN: WITHDRAWN,
} = ProposalState;
const NAMES = ['ACME', 'GLOBEX', 'INITECH'] as const;
const ORGS = [...NAMES];

const three = (t: Parameters<typeof startApprovalFederation>[0]) =>
  startApprovalFederation(t, { ACME: {}, GLOBEX: {}, INITECH: {} });

const is =
  (wanted: ProposalState) =>
  ({ state }: Proposal): boolean =>
    state === wanted;

const standing = ({ standings }: Proposal, org: string): Standing =>
  standings.find(each => each.org === org) as Standing;

const approvedBy =
  (...orgs: readonly string[]) =>
  (proposal: Proposal) =>
    orgs.every(org => standing(proposal, org).decision === Decision.DECISION_APPROVED);

/** Resolves when all of them see what the check accepts. */
const allSee = (nodes: readonly ApprovalNode[], id: Uint8Array, check: (proposal: Proposal) => boolean) =>
  Promise.all(nodes.map(node => node.until(id, check)));

async function approve({ node, key }: ApprovalOrg, id: Uint8Array): Promise<void> {
  await node.until(id, () => true);
  await node.approve(id, key);
}

test.serial(
  'approvals: what one organisation proposes two approve; all three see who, with one and the same proof',
  async t => {
    const { orgs } = await three(t);
    const { ACME, GLOBEX, INITECH } = orgs;
    const nodes = [ACME.node, GLOBEX.node, INITECH.node];
    const artifactShare = await ACME.share('code');
    const made = await ACME.node.propose({
      artifactShare,
      orgs: ORGS,
      threshold: 2,
      note: 'please',
      links: ['https://x.example'],
    });
    t.like(made, {
      state: OPEN,
      proposer: 'ACME',
      artifactName: 'scanner.tar',
      artifactShare,
      artifactSize: 4n,
      sequence: 1n,
    });
    for (const org of [GLOBEX, INITECH]) await approve(org, made.id);
    const seen = await allSee(
      nodes,
      made.id,
      proposal => is(APPROVED)(proposal) && approvedBy('GLOBEX', 'INITECH')(proposal),
    );
    for (const proposal of seen) {
      t.deepEqual(Buffer.from(proposal.statement), Buffer.from(made.statement));
      t.like(proposal, { approved: 2, rejected: 0, note: 'please', artifactShare });
      t.is(standing(proposal, 'ACME').decision, Decision.DECISION_UNSPECIFIED);
    }
    const proofs = await Promise.all(nodes.map(node => node.bundle({ $case: 'proposalId', value: made.id })));
    const { payloadType, payload, signatures } = parseEnvelope(proofs[0]?.dsse ?? '');
    t.is(proofs[0]?.sigstore.length, 2);
    for (const { key } of [GLOBEX, INITECH]) {
      const mine = signatures.find(({ keyId }) => keyId === key.key.id);
      t.true(mine && verifyWithApprovalKey(key.key, pae(payloadType, payload), mine.signature));
    }
    t.deepEqual(payload, Buffer.from(made.statement));
    const byDigest = await INITECH.node.bundle({ $case: 'artifactSha256', value: made.artifactSha256 });
    t.deepEqual(Buffer.from(byDigest.proposalId), Buffer.from(made.id));
  },
);

test.serial(
  'approvals: votes have receipts of the other gateways, and the logs are chains that tell all of it',
  async t => {
    const { orgs } = await three(t);
    const { ACME, GLOBEX, INITECH } = orgs;
    const { id } = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ORGS, threshold: 2 });
    await approve(GLOBEX, id);
    const hasReceipts = (proposal: Proposal): boolean => {
      const [vote] = standing(proposal, 'GLOBEX').votes;
      return vote?.receipts.length === 2;
    };
    const { standings } = await GLOBEX.node.until(id, hasReceipts);
    t.deepEqual(standings.find(({ org }) => org === 'GLOBEX')?.votes[0]?.receipts.toSorted(), ['ACME', 'INITECH']);
    await ACME.node.until(id, proposal => ['GLOBEX', 'INITECH'].every(org => standing(proposal, org).holds));
    for (const { node } of [ACME, GLOBEX, INITECH]) {
      const entries = await node.log();
      let before = CHAIN_START;
      for (const [i, { index, entry, hash }] of entries.entries()) {
        t.is(index, BigInt(i + 1));
        before = chainHash(before, entry);
        t.deepEqual(Buffer.from(hash), before);
      }
      const kinds = entries.map(({ entry }) => LogEntry.decode(entry).what?.$case);
      t.true(kinds.includes('offered') && kinds.includes('voted'), kinds.join());
      t.is((await node.log(BigInt(entries.length))).length, 1);
    }
  },
);

test.serial(
  'approvals: rejections that make it impossible end it everywhere; a vote after that is refused',
  async t => {
    const { orgs } = await three(t);
    const { ACME, GLOBEX, INITECH } = orgs;
    const { id } = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ORGS, threshold: 2 });
    for (const { node, key } of [GLOBEX, INITECH]) {
      await node.until(id, () => true);
      await node.reject(id, key, 'it does not build');
    }
    const seen = await allSee([ACME.node, GLOBEX.node, INITECH.node], id, is(REJECTED));
    for (const proposal of seen) t.is(proposal.rejected, 2);
    t.is(standing(seen[0] as Proposal, 'GLOBEX').votes[0]?.reason, 'it does not build');
    await t.throwsAsync(ACME.node.approve(id, ACME.key), { message: /reject/ });
    await t.throwsAsync(ACME.node.bundle({ $case: 'proposalId', value: id }), { name: 'FedgateError' });
  },
);

test.serial(
  'approvals: a vote is taken back while the proposal is open, and the same key may then vote otherwise',
  async t => {
    const { orgs } = await three(t);
    const { ACME, GLOBEX, INITECH } = orgs;
    const { id } = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ORGS, threshold: 2 });
    await approve(GLOBEX, id);
    await allSee([ACME.node, INITECH.node], id, approvedBy('GLOBEX'));
    const proposal = await GLOBEX.node.get(id);
    await GLOBEX.node.vote(withdrawal(proposal, GLOBEX.key, 'approval'));
    const seen = await allSee([ACME.node, INITECH.node], id, ({ approved }) => approved === 0);
    for (const each of seen) {
      t.deepEqual(
        standing(each, 'GLOBEX').votes.map(({ kind }) => kind),
        [VoteKind.VOTE_KIND_APPROVE, VoteKind.VOTE_KIND_WITHDRAW],
      );
    }
    await GLOBEX.node.reject(id, GLOBEX.key);
    for (const org of [ACME, INITECH]) await approve(org, id);
    const ended = await allSee([ACME.node, GLOBEX.node, INITECH.node], id, is(APPROVED));
    for (const each of ended) t.is(standing(each, 'GLOBEX').decision, Decision.DECISION_REJECTED);
  },
);

test.serial('approvals: the proposer withdraws, and nobody else can', async t => {
  const { orgs } = await three(t);
  const { ACME, GLOBEX, INITECH } = orgs;
  const { id } = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ORGS, threshold: 1 });
  await GLOBEX.node.until(id, () => true);
  t.like(await t.throwsAsync(GLOBEX.node.withdraw(id)), { reason: 'NOT_GRANTED' });
  await ACME.node.withdraw(id, 'wrong build');
  await allSee([ACME.node, GLOBEX.node, INITECH.node], id, is(WITHDRAWN));
  t.like(await t.throwsAsync(GLOBEX.node.approve(id, GLOBEX.key)), { reason: 'PROPOSAL_CLOSED' });
});

test.serial('approvals: what was said while a gateway was away reaches it when it is back', async t => {
  const { orgs } = await three(t);
  const { ACME, GLOBEX, INITECH } = orgs;
  const before = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ORGS, threshold: 2 });
  await INITECH.node.until(before.id, () => true);
  await INITECH.org.stop();
  await approve(GLOBEX, before.id);
  await approve(ACME, before.id);
  await allSee([ACME.node, GLOBEX.node], before.id, is(APPROVED));
  const during = await ACME.node.propose({ artifactShare: await ACME.share('y'), orgs: ORGS, threshold: 2 });
  await approve(GLOBEX, during.id);
  await ACME.node.until(during.id, approvedBy('GLOBEX'));
  await INITECH.org.start();
  const seen = await INITECH.node.until(before.id, is(APPROVED));
  t.true(approvedBy('ACME', 'GLOBEX')(seen));
  await INITECH.node.until(during.id, approvedBy('GLOBEX'));
  await INITECH.node.approve(during.id, INITECH.key);
  await allSee([ACME.node, GLOBEX.node, INITECH.node], during.id, is(APPROVED));
});

test.serial(
  'approvals: the vote of an organisation that is suspended does not count, and the others go on',
  async t => {
    const { registry, orgs } = await three(t);
    const { ACME, GLOBEX, INITECH } = orgs;
    const { id } = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ORGS, threshold: 2 });
    await approve(GLOBEX, id);
    await allSee([ACME.node, INITECH.node], id, approvedBy('GLOBEX'));
    await registry.admin.setState('GLOBEX', 'suspended');
    await allSee([ACME.node, INITECH.node], id, ({ approved }) => approved === 0);
    await approve(INITECH, id);
    t.is((await ACME.node.until(id, approvedBy('INITECH'))).state, OPEN);
    await approve(ACME, id);
    for (const proposal of await allSee([ACME.node, INITECH.node], id, is(APPROVED))) {
      t.is(proposal.approved, 2);
      t.not(standing(proposal, 'GLOBEX').votes[0]?.whyNot, '');
    }
  },
);

test.serial(
  'approvals: an organisation without the grant gets a no that its proposer can read, and the vote of others goes on',
  async t => {
    const deny = `nodes: [{ node: "*", share: ["*"], fetch: ["*"], approvals: [view, propose, vote] }]
peers: [{ org: INITECH, propose: true }]`;
    const { orgs } = await startApprovalFederation(t, { ACME: {}, GLOBEX: { access: deny }, INITECH: {} });
    const { ACME, GLOBEX, INITECH } = orgs;
    const { id } = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ORGS, threshold: 2 });
    const told = await ACME.node.until(id, proposal => standing(proposal, 'GLOBEX').refusal !== '');
    t.regex(standing(told, 'GLOBEX').refusal, /NOT_GRANTED|takes no proposals/);
    t.false(standing(told, 'GLOBEX').holds);
    t.like(await t.throwsAsync(GLOBEX.node.get(id)), { reason: 'PROPOSAL_UNKNOWN' });
    await GLOBEX.org.logged(({ security, err }) => security === true && err?.reason === 'NOT_GRANTED');
    for (const org of [ACME, INITECH]) await approve(org, id);
    await ACME.node.until(id, is(APPROVED));
  },
);

test.serial(
  'approvals: with approvers that answer at once, from the proposal to approved everywhere takes seconds at most',
  async t => {
    const { orgs } = await three(t);
    const all = Object.values(orgs);
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    for (const { node, key } of all) void approveAll(node, key, stop.signal);
    const artifactShare = await orgs.ACME.share('x');
    const startMs = performance.now();
    const { id } = await orgs.ACME.node.propose({ artifactShare, orgs: ORGS, threshold: 3 });
    await allSee(
      all.map(({ node }) => node),
      id,
      is(APPROVED),
    );
    const tookMs = performance.now() - startMs;
    t.log(`${Math.round(tookMs)} ms`);
    t.true(tookMs < 30_000);
  },
);

test.serial(
  'approvals: a gateway that is killed after it answered a vote has not forgotten it, and tells it',
  async t => {
    const registry = await startTestRegistry(t);
    const acme = await startTestOrg(t, registry, 'ACME', { access: APPROVAL_ACCESS, extra: QUICK_LINKS });
    const ACME = await approvalOrg(t, acme);
    const globex = await GatewayProcess.join(t, registry, 'GLOBEX', APPROVAL_ACCESS);
    const key = testKey('GLOBEX');
    await addApprovers(globex.folder, { gina: key });
    await allKnow(registry, [acme, globex]);
    const context = { folder: globex.folder, name: 'release', gateway: 'gw1', address: globex.nodes };
    const node = await ApprovalNode.of(t, await addNode(context));
    const { id } = await ACME.node.propose({ artifactShare: await ACME.share('x'), orgs: ['GLOBEX'], threshold: 1 });
    await node.until(id, () => true);
    await acme.stop();
    t.is((await node.approve(id, key)).proposal?.state, APPROVED);
    await globex.kill();
    await globex.start();
    await acme.start();
    await ACME.node.until(id, is(APPROVED));
    t.is((await node.get(id)).state, APPROVED);
  },
);

/** Approves whatever comes, as a program would. */
async function approveAll(node: ApprovalNode, key: ApprovalOrg['key'], signal: AbortSignal): Promise<void> {
  const done = new Set<string>();
  try {
    for await (const { id } of node.watch({}, signal)) {
      const name = Buffer.from(id).toString('hex');
      if (done.has(name)) continue;
      done.add(name);
      await node.approve(id, key);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
