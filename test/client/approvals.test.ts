import { createHash } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { parseEnvelope } from '../../src/approvals/statement/envelope.js';
import { encodeStatement, parseStatement, statementSha256 } from '../../src/approvals/statement/statement.js';
import type { FedgateClient, Proposal, ProposeOptions } from '../../src/client/index.js';
import { FakeApprovalService, ORGS, TestVoter } from '../support/fake-approval-service.js';
import { FakeFileService } from '../support/fake-file-service.js';
import { FakeGateway } from '../support/fake-gateway.js';
import { refused } from '../support/reasons.js';

interface World {
  readonly gateway: FakeGateway;
  readonly service: FakeApprovalService;
  readonly client: FedgateClient;
  propose(changes?: Partial<ProposeOptions>): Promise<Proposal>;
}

async function start(t: ExecutionContext): Promise<World> {
  const files = new FakeFileService();
  const service = new FakeApprovalService(files);
  const gateway = await FakeGateway.start(t, listener => {
    files.register(listener);
    service.register(listener);
  });
  const client = await gateway.connect(t);
  const artifactShare = files.add(Buffer.from('the artifact'));
  const terms = {
    artifactShare,
    artifactName: 'widget.tar',
    project: 'widget',
    version: '1.2.0',
    orgs: ORGS,
    threshold: 2,
  };
  return { gateway, service, client, propose: changes => client.approvals.propose({ ...terms, ...changes }) };
}

async function take<T>(source: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of source) if (taken.push(item) === count) break;
  return taken;
}

test('approvals: what is proposed comes back as it was said, and a repeated call makes no second proposal', async t => {
  const { client, service, propose } = await start(t);
  const proposalId = Buffer.alloc(16, 5);
  const links = ['https://example.com/review/7'];
  const made = await propose({
    proposalId,
    note: 'please',
    links,
    notBeforeMs: 2_000_000_000_000,
    notAfterMs: 2_000_000_060_000,
  });
  t.like(made, {
    id: proposalId.toString('hex'),
    state: 'open',
    proposer: 'ACME',
    project: 'widget',
    version: '1.2.0',
    sequence: 1,
    threshold: 2,
    approved: 0,
    notBeforeMs: 2_000_000_000_000,
    notAfterMs: 2_000_000_060_000,
    note: 'please',
    previousApprovedId: undefined,
  });
  t.deepEqual(made.links, links);
  t.like(made.artifact, { name: 'widget.tar', kind: 'file', size: 12, contentsShare: undefined });
  t.is(made.artifact.sha256, createHash('sha256').update('the artifact').digest('hex'));
  t.deepEqual(
    made.standings.map(({ org, decision }) => [org, decision]),
    ORGS.map(org => [org, undefined]),
  );
  t.is((await propose({ proposalId })).id, made.id);
  t.is(service.held.size, 1);
  t.deepEqual(await client.approvals.get(made.id), made);
});

test('approvals: proposals are listed page by page, newest first', async t => {
  const { client, propose } = await start(t);
  const ids: string[] = [];
  for (const version of ['1', '2', '3', '4', '5']) ids.push((await propose({ version })).id);
  const listed: string[] = [];
  for await (const { id, statement } of client.approvals.list({ project: 'widget', state: 'open' })) {
    t.is(statement, undefined);
    listed.push(id);
  }
  t.deepEqual(listed, ids.reverse());
  t.deepEqual(await take(client.approvals.list({ state: 'approved' }), 1), []);
  await refused(t, 'FIELD_INVALID', () => take(client.approvals.list({ state: 'maybe' as 'open' }), 1));
});

test('approvals: an approval is a signature over the very bytes that were shown', async t => {
  const { client, service, propose } = await start(t);
  const { id, statementSha256: shown } = await propose();
  const { signer } = service.voters.ACME;
  const { proposal, duplicate } = await client.approvals.approve(id, signer, { statementSha256: shown });
  t.false(duplicate);
  t.is(proposal.approved, 1);
  const [vote] = proposal.standings[0]?.votes ?? [];
  t.like(vote, { kind: 'approve', keyId: signer.key.id, approver: 'alice', counts: true, whyNot: undefined });
  t.deepEqual(
    service.votes[0]?.envelope?.payload && Buffer.from(service.votes[0].envelope.payload),
    service.held.get(id)?.statement,
  );
});

test('approvals: a rejection and the withdrawal of a vote are statements of their own, about this proposal', async t => {
  const { client, service, propose } = await start(t);
  const { id, statementSha256: sha256 } = await propose();
  const { signer } = service.voters.GLOBEX;
  await refused(t, 'VOTE_FINAL', () => client.approvals.withdrawVote(id, 'nothing there', signer));
  const { proposal } = await client.approvals.reject(id, 'tests fail', signer);
  t.is(proposal.rejected, 1);
  await client.approvals.withdrawVote(id, 'a misunderstanding', signer);
  const [rejection, withdrawal] = service.votes.map(({ envelope }) =>
    parseStatement(envelope?.payload ?? Buffer.alloc(0)),
  );
  const facts = { proposalId: id, org: 'GLOBEX', statementSha256: sha256 };
  t.like(rejection, { kind: 'rejection', reply: { ...facts, reason: 'tests fail' } });
  t.like(withdrawal, { kind: 'withdrawal', withdraws: 'rejection', reply: { ...facts, reason: 'a misunderstanding' } });
});

test('approvals: a key that the proposal does not name signs nothing', async t => {
  const { client, service, propose } = await start(t);
  const { id } = await propose({ orgs: ['GLOBEX', 'INITECH'] });
  let asked = 0;
  const signers = [new TestVoter().signer, service.voters.ACME.signer].map(signer => ({
    ...signer,
    sign: (message: Buffer) => {
      asked++;
      return signer.sign(message);
    },
  }));
  for (const signer of signers) {
    await refused(t, 'APPROVER_UNKNOWN', () => client.approvals.approve(id, signer));
    await refused(t, 'APPROVER_UNKNOWN', () => client.approvals.reject(id, 'no', signer));
  }
  t.is(asked, 0);
});

test('attack 19: a gateway that shows another statement than was reviewed, or other facts than the statement has, gets no signature', async t => {
  const { client, service, propose } = await start(t);
  const { id, statementSha256: reviewed } = await propose();
  const { signer } = service.voters.ACME;
  const approve = (): Promise<unknown> => client.approvals.approve(id, signer, { statementSha256: reviewed });
  const held = service.held.get(id);
  if (!held) return t.fail();
  const other = encodeStatement({ kind: 'approval', proposal: { ...held.facts, threshold: 1 } });
  service.lie = proposal => ({
    ...proposal,
    threshold: 1,
    statement: other,
    statementSha256: Buffer.from(statementSha256(other), 'hex'),
  });
  const error = await refused(t, 'PROPOSAL_FORKED', approve);
  t.is(error.metadata.reviewed, reviewed);
  service.lie = proposal => ({ ...proposal, statement: other });
  await refused(t, 'STATEMENT_INVALID', approve);
  const lies: Partial<Parameters<typeof service.lie>[0]>[] = [
    { artifactSha256: Buffer.alloc(32, 1) },
    { artifactSize: 1n },
    { artifactName: 'other' },
    { version: '9' },
    { project: 'other' },
    { proposer: 'GLOBEX' },
    { threshold: 3 },
    { note: 'harmless' },
    { links: ['https://example.com/other'] },
    { sequence: 9n },
    { notAfterMs: 1n },
    { standings: [] },
  ];
  for (const lie of lies) {
    service.lie = proposal => ({ ...proposal, ...lie });
    await refused(t, 'STATEMENT_INVALID', approve);
  }
  service.lie = proposal => ({ ...proposal, statement: Buffer.from('{}') });
  await refused(t, 'STATEMENT_INVALID', approve);
  service.lie = proposal => ({ ...proposal, id: Buffer.alloc(16, 3) });
  await refused(t, 'FRAME_MALFORMED', approve);
  t.deepEqual(service.votes, []);
});

test('approvals: a watch tells what is open, each change once, and what happened while the connection was lost', async t => {
  const { client, service, propose } = await start(t);
  const [first, second] = [await propose({ version: '1' }), await propose({ version: '2' })];
  const abort = new AbortController();
  const watch = client.approvals.watch({ signal: abort.signal })[Symbol.asyncIterator]();
  const next = async (): Promise<Proposal> => (await watch.next()).value as Proposal;
  t.deepEqual([(await next()).id, (await next()).id], [first.id, second.id]);
  await service.cast(first.id, 'GLOBEX');
  t.is((await next()).approved, 1);
  const pending = next();
  await service.watched();
  service.cutWatches();
  // The connection is away: it is decided, which the new watch does not tell by itself.
  await service.cast(first.id, 'INITECH');
  const missed = await pending;
  t.is(missed.id, first.id);
  t.is(missed.state, 'approved');
  const then = next();
  // Its predecessor is another one now.
  t.is((await then).previousApprovedId, first.id);
  const after = next();
  await service.cast(second.id, 'GLOBEX', 'reject');
  const changed = await after;
  t.is(changed.id, second.id);
  t.is(changed.rejected, 1);
  const last = watch.next();
  abort.abort();
  t.deepEqual(await last, { done: true, value: undefined });
});

test('approvals: a watch goes on after the gateway was started again', async t => {
  const { client, gateway, service, propose } = await start(t);
  const { id } = await propose();
  const watch = client.approvals.watch({ id })[Symbol.asyncIterator]();
  t.is((await watch.next()).value.id, id);
  const pending = watch.next();
  await service.watched();
  await gateway.stop();
  await gateway.restart();
  await service.watched();
  await service.cast(id, 'ACME');
  t.is((await pending).value.approved, 1);
  await watch.return?.();
});

test('approvals: bundles by id and by digest, keys, withdrawing, and the log', async t => {
  const { client, service, propose } = await start(t);
  const { id, artifact } = await propose();
  await refused(t, 'NOT_APPROVED', () => client.approvals.bundle({ id }));
  await service.cast(id, 'INITECH');
  await client.approvals.approve(id, service.voters.ACME.signer);
  const bundle = await client.approvals.bundle({ id });
  t.deepEqual(await client.approvals.bundle({ sha256: artifact.sha256 }), bundle);
  t.deepEqual(
    bundle.sigstore.map(({ org }) => org),
    ['ACME', 'INITECH'],
  );
  t.is(parseEnvelope(bundle.dsse).signatures.length, 2);
  t.is(bundle.proposalId, id);
  const [acme] = await client.approvals.approvers();
  t.like(acme, { org: 'ACME', required: 1 });
  t.like(acme?.keys[0], { name: 'alice', keyId: service.voters.ACME.key.id, revocation: undefined });
  const other = await propose({ version: '1.2.1' });
  t.is((await client.approvals.withdraw(other.id, 'wrong build')).state, 'withdrawn');
  t.is(other.previousApprovedId, id);
  const [entry] = await take(client.approvals.log(3), 1);
  t.is(entry?.index, 3);
  await refused(t, 'PROPOSAL_UNKNOWN', () => client.approvals.get('0'.repeat(32)));
  await refused(t, 'FIELD_INVALID', () => client.approvals.get('xyz'));
  await refused(t, 'FIELD_INVALID', () => client.approvals.bundle({ sha256: 'xyz' }));
});
