import test from 'ava';
import { Decision, ProposalState, VoteKind } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import type { ProposalFilter } from '../../../src/approvals/types.js';
import { FedgateError } from '../../../src/errors.js';
import { orgName } from './people.js';
import { DAY_MS, MINUTE_MS, START_MS, World } from './world.js';

const { PROPOSAL_STATE_OPEN, PROPOSAL_STATE_APPROVED, PROPOSAL_STATE_REJECTED } = ProposalState;
const { PROPOSAL_STATE_EXPIRED, PROPOSAL_STATE_WITHDRAWN } = ProposalState;
const ANY: ProposalFilter = { state: ProposalState.PROPOSAL_STATE_UNSPECIFIED, proposer: '', project: '' };
const OPEN = { ...ANY, state: PROPOSAL_STATE_OPEN };

const reasonOf = (error: unknown): string => (error instanceof FedgateError ? error.reason : String(error));
const refusal = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', reasonOf);
const three = (): Promise<World> => World.open({ ACME: 1, GLOBEX: 1, INITECH: 1 });

test('book: a proposal reaches everybody it names, is approved by two of three, and everybody knows that', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const proposal = await acme.propose({ note: 'please', links: ['https://example.org/1'] });
  await world.settle();
  t.true((await acme.get(proposal)).standings.every(({ holds }) => holds));
  await world.side('GLOBEX').vote('approve', proposal);
  await world.settle();
  t.is(await acme.state(proposal), PROPOSAL_STATE_OPEN);
  await world.side('INITECH').vote('approve', proposal);
  await world.settle();
  for (const side of world.sides.values()) {
    const held = await side.get(proposal);
    t.is(held.state, PROPOSAL_STATE_APPROVED, side.org);
    t.is(held.approved, 2);
    t.deepEqual(
      held.standings.map(({ org, decision }) => [org, decision]),
      [
        ['ACME', Decision.DECISION_UNSPECIFIED],
        ['GLOBEX', Decision.DECISION_APPROVED],
        ['INITECH', Decision.DECISION_APPROVED],
      ],
    );
    t.true(await side.book.isApproved(Buffer.from(proposal.artifact.sha256, 'hex')));
    const counted = await side.book.approval({ id: Buffer.from(proposal.id, 'hex') });
    t.deepEqual(
      counted.signatures.map(({ org }) => org),
      [orgName('GLOBEX'), orgName('INITECH')],
    );
    t.deepEqual(await side.book.approval({ artifactSha256: Buffer.from(proposal.artifact.sha256, 'hex') }), counted);
  }
  t.deepEqual(
    [...world.sides.values()].flatMap(side => side.reasons()),
    [],
  );
});

test('book: a vote is shown with who said that they have it', async t => {
  const world = await three();
  const proposal = await world.side('ACME').propose();
  await world.settle();
  const globex = world.side('GLOBEX');
  const { proposal: voted, duplicate } = await globex.vote('approve', proposal);
  t.false(duplicate);
  const [vote] = voted.standings[1]?.votes ?? [];
  t.is(vote?.kind, VoteKind.VOTE_KIND_APPROVE);
  t.is(vote?.approver, globex.people[0]?.name);
  t.deepEqual(vote?.receipts, []);
  t.deepEqual(Buffer.from(vote?.envelope?.payload ?? []), Buffer.from(voted.statement));
  await world.settle();
  const [later] = (await globex.get(proposal)).standings[1]?.votes ?? [];
  t.deepEqual(later?.receipts, ['ACME', 'INITECH']);
  t.true((await globex.vote('approve', proposal)).duplicate);
});

test('book: rejected as soon as so many have rejected that the others cannot be enough', async t => {
  const world = await three();
  const proposal = await world.side('ACME').propose();
  await world.settle();
  await world.side('GLOBEX').vote('reject', proposal, undefined, { reason: 'no tests' });
  await world.settle();
  t.is(await world.side('ACME').state(proposal), PROPOSAL_STATE_OPEN);
  await world.side('INITECH').vote('reject', proposal);
  await world.settle();
  for (const side of world.sides.values()) {
    const held = await side.get(proposal);
    t.is(held.state, PROPOSAL_STATE_REJECTED);
    t.is(held.rejected, 2);
    t.is(held.standings[1]?.votes[0]?.reason, 'no tests');
  }
  const digest = Buffer.from(proposal.artifact.sha256, 'hex');
  t.false(await world.side('ACME').book.isApproved(digest));
  t.is(await refusal(world.side('ACME').book.approval({ artifactSha256: digest })), 'NOT_APPROVED');
  t.is(await refusal(world.side('ACME').vote('approve', proposal)), 'PROPOSAL_CLOSED');
});

test('book: a vote that was withdrawn does not count, and is not cast again', async t => {
  const world = await three();
  const proposal = await world.side('ACME').propose();
  await world.settle();
  const globex = world.side('GLOBEX');
  t.is(await refusal(globex.vote('withdraw approve', proposal)), 'VOTE_FINAL');
  await globex.vote('approve', proposal);
  t.is(await refusal(globex.vote('reject', proposal)), 'VOTE_FINAL');
  await globex.vote('withdraw approve', proposal);
  t.true((await globex.vote('withdraw approve', proposal)).duplicate);
  t.is(await refusal(globex.vote('approve', proposal)), 'VOTE_FINAL');
  await globex.vote('reject', proposal);
  await world.settle();
  for (const side of world.sides.values()) {
    const { rejected, approved, standings } = await side.get(proposal);
    t.deepEqual([approved, rejected], [0, 1]);
    t.deepEqual(
      standings[1]?.votes.map(({ counts, whyNot }) => [counts, whyNot]),
      [
        [false, 'it was withdrawn'],
        [true, ''],
        [true, ''],
      ],
    );
  }
});

test('book: the proposer withdraws, nobody else, and not what has ended', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  await world.settle();
  const id = Buffer.from(proposal.id, 'hex');
  t.is(await refusal(world.side('GLOBEX').book.withdraw(id, 'no')), 'NOT_GRANTED');
  t.is(await refusal(acme.book.withdraw(Buffer.alloc(16), 'no')), 'PROPOSAL_UNKNOWN');
  await acme.book.withdraw(id, 'a better one comes');
  await world.settle();
  for (const side of world.sides.values()) t.is(await side.state(proposal), PROPOSAL_STATE_WITHDRAWN);
  t.is(await refusal(acme.book.withdraw(id, 'again')), 'PROPOSAL_CLOSED');
});

test('book: expires a minute after its time, also when the gateway was down, and however far away that is', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const soon = await acme.propose({ notAfterMs: START_MS + DAY_MS, version: '1' });
  const late = await acme.propose({ notAfterMs: START_MS + 300 * DAY_MS, version: '2' });
  await world.settle();
  await world.advance(DAY_MS + MINUTE_MS);
  t.is(await acme.state(soon), PROPOSAL_STATE_OPEN);
  await world.advance(1);
  for (const side of world.sides.values()) t.is(await side.state(soon), PROPOSAL_STATE_EXPIRED);
  await acme.book.close();
  await acme.restart();
  await world.advance(299 * DAY_MS);
  for (const side of world.sides.values()) t.is(await side.state(late), PROPOSAL_STATE_EXPIRED, side.org);
});

test('book: the same call with the same id makes one proposal; another one is refused', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const id = Buffer.alloc(16, 9);
  const first = await acme.propose({ id });
  t.deepEqual(await acme.propose({ id }), first);
  t.is(await refusal(acme.propose({ id, version: '2' })), 'FIELD_INVALID');
  const second = await acme.propose({ version: '2' });
  t.deepEqual([first.sequence, second.sequence], [1, 2]);
  await acme.restart();
  t.is((await acme.propose({ version: '3' })).sequence, 3);
  t.is((await acme.propose({ version: '3', project: 'other' })).sequence, 1);
});

test('book: what cannot be proposed', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const refused = (draft: Parameters<typeof acme.propose>[0]) => refusal(acme.propose(draft));
  t.is(await refused({ threshold: 0 }), 'FIELD_INVALID');
  t.is(await refused({ threshold: -1 }), 'FIELD_INVALID');
  t.is(await refused({ threshold: 1.5 }), 'FIELD_INVALID');
  t.is(await refused({ threshold: 4 }), 'FIELD_INVALID');
  t.is(await refused({ orgs: [] }), 'FIELD_INVALID');
  t.is(await refused({ orgs: [orgName('ACME'), orgName('ACME')] }), 'FIELD_INVALID');
  t.is(await refused({ orgs: [orgName('ACME'), orgName('NOBODY')] }), 'ORG_UNKNOWN');
  t.is(await refused({ project: 'a b' }), 'FIELD_INVALID');
  t.is(await refused({ notAfterMs: START_MS - 1 }), 'FIELD_INVALID');
  t.is(await refused({ notAfterMs: START_MS + 367 * DAY_MS }), 'FIELD_INVALID');
  world.directory.change('GLOBEX', { required: 2 });
  t.is(await refused({}), 'APPROVER_UNKNOWN');
  world.directory.change('GLOBEX', { required: 1, active: false });
  t.is(await refused({}), 'ORG_INACTIVE');
  t.deepEqual((await acme.book.list(ANY, undefined, 10)).proposals, []);
});

test('book: an organisation that demands two of its own approvers counts once two have approved, and once', async t => {
  const world = await World.open({ ACME: 3, GLOBEX: 3 }, { required: 2 });
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  await world.settle();
  const globex = world.side('GLOBEX');
  for (const [count, one] of globex.people.entries()) {
    await globex.vote('approve', proposal, one);
    await world.settle();
    const { approved, standings } = await acme.get(proposal);
    t.is(approved, count === 0 ? 0 : 1);
    const counts = standings[1]?.votes.map(vote => vote.counts);
    t.deepEqual(counts, [[true], [true, true], [true, true, false]][count]);
  }
  t.is(await acme.state(proposal), PROPOSAL_STATE_OPEN);
});

test('book: what is approved may be approved by more, who then are in the proof; nothing takes it back', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  await world.settle();
  await world.side('GLOBEX').vote('approve', proposal);
  await world.side('INITECH').vote('approve', proposal);
  await world.settle();
  t.is(await refusal(world.side('GLOBEX').vote('withdraw approve', proposal)), 'PROPOSAL_CLOSED');
  t.is(await refusal(acme.vote('reject', proposal)), 'PROPOSAL_CLOSED');
  await acme.vote('approve', proposal);
  await world.settle();
  for (const side of world.sides.values()) {
    const { signatures } = await side.book.approval({ id: Buffer.from(proposal.id, 'hex') });
    t.deepEqual(
      signatures.map(({ org }) => org as string),
      ['ACME', 'GLOBEX', 'INITECH'],
    );
  }
});

test('book: files of a package are approved with it', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const files = Array.from({ length: 2_500 }, (_, i) => Buffer.alloc(32, `file ${i} `));
  const artifact = { name: 'list', kind: 'package', size: 9, sha256: 'cd'.repeat(32) } as const;
  const proposal = await acme.propose({ artifact, files, threshold: 1 });
  t.false(await acme.book.isApproved(files[2_400] as Buffer));
  await acme.vote('approve', proposal);
  for (const file of files) t.true(await acme.book.isApproved(file));
  t.false(await acme.book.isApproved(Buffer.alloc(32, 1)));
  t.is(await refusal(acme.book.approval({ artifactSha256: files[0] as Buffer })), 'NOT_APPROVED');
});

test('book: lists are newest first, in pages, by state, proposer and project', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const made = [];
  for (let i = 0; i < 5; i++) made.push(await acme.propose({ version: `${i}`, project: i % 2 === 0 ? 'even' : 'odd' }));
  await acme.book.withdraw(Buffer.from(made[1]?.id ?? '', 'hex'), '');
  const versions = async (filter: ProposalFilter, limit = 10): Promise<string[]> => {
    const found: string[] = [];
    for (let after: Buffer | undefined; ; ) {
      const { proposals, last } = await acme.book.list(filter, after, limit);
      t.true(proposals.length <= limit);
      found.push(...proposals.map(({ version }) => version));
      if (!last) return found;
      after = last;
    }
  };
  for (const limit of [1, 2, 4, 5, 10]) {
    t.deepEqual(await versions(ANY, limit), ['4', '3', '2', '1', '0']);
    t.deepEqual(await versions(OPEN, limit), ['4', '3', '2', '0']);
  }
  t.deepEqual(await versions({ ...ANY, project: 'odd' }), ['3', '1']);
  t.deepEqual(await versions({ ...ANY, state: PROPOSAL_STATE_WITHDRAWN }), ['1']);
  t.deepEqual(await versions({ ...OPEN, proposer: 'GLOBEX' }), []);
  t.is(await refusal(acme.book.list(ANY, Buffer.from('x'), 1)), 'FIELD_INVALID');
});

test('book: the last approved proposal of the same project is named', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const first = await acme.propose({ threshold: 1, version: '1' });
  await acme.vote('approve', first);
  const second = await acme.propose({ threshold: 1, version: '2' });
  const third = await acme.propose({ threshold: 1, version: '3' });
  t.is(Buffer.from((await acme.get(first)).previousApprovedId).toString('hex'), '');
  t.is(Buffer.from((await acme.get(third)).previousApprovedId).toString('hex'), first.id);
  await acme.vote('approve', second);
  t.is(Buffer.from((await acme.get(third)).previousApprovedId).toString('hex'), second.id);
});

test('book: one that is watched is told when it changes, whatever its state; a slow reader gets only the newest', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  const other = await acme.propose({ version: '2' });
  await world.settle();
  const stop = new AbortController();
  const all = acme.book.watch({ id: undefined, proposer: '', project: '' }, stop.signal);
  const one = acme.book.watch({ id: Buffer.from(proposal.id, 'hex'), proposer: '', project: '' }, stop.signal);
  const ids = [(await all.next()).value, (await all.next()).value].map(told => Buffer.from(told.id).toString('hex'));
  t.deepEqual(ids, [other.id, proposal.id]);
  t.is((await one.next()).value.approved, 0);
  await world.side('GLOBEX').vote('approve', proposal);
  await world.settle();
  await world.side('INITECH').vote('approve', proposal);
  await world.settle();
  for (const watching of [all, one]) t.is((await watching.next()).value.state, PROPOSAL_STATE_APPROVED);
  const nothing = all.next();
  stop.abort();
  t.true((await nothing).done);
  t.true((await one.next()).done);
  const unknown = acme.book.watch({ id: Buffer.alloc(16), proposer: '', project: '' }, new AbortController().signal);
  t.is(await refusal(unknown.next()), 'PROPOSAL_UNKNOWN');
});

test('book: whoever is not granted to propose is told so, and its proposal is not here', async t => {
  const world = await three();
  world.side('GLOBEX').granted.clear();
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  await world.settle();
  t.is(await refusal(world.side('GLOBEX').get(proposal)), 'PROPOSAL_UNKNOWN');
  const { standings } = await acme.get(proposal);
  t.deepEqual(
    standings.map(({ org, holds, refusal: why }) => [org, holds, why.split(':')[0]]),
    [
      ['ACME', true, ''],
      ['GLOBEX', false, 'NOT_GRANTED'],
      ['INITECH', true, ''],
    ],
  );
  await acme.restart();
  t.regex((await acme.book.list(OPEN, undefined, 1)).proposals[0]?.standings[1]?.refusal ?? '', /^NOT_GRANTED/);
});

test('book: votes that come before their proposal, or before the registry knows their key, count once that is there', async t => {
  const world = await three();
  const acme = world.side('ACME');
  const globex = world.side('GLOBEX');
  const initech = world.side('INITECH');
  const proposal = await acme.propose();
  const letters = await world.underWay();
  for (const one of letters.filter(({ letter }) => letter.to === 'GLOBEX')) await world.deliver(one);
  await globex.vote('approve', proposal);
  for (const one of (await world.underWay()).filter(({ letter }) => letter.from === 'GLOBEX')) await world.deliver(one);
  t.is(await refusal(initech.get(proposal)), 'PROPOSAL_UNKNOWN');
  t.true(initech.events.some(({ kind }) => kind === 'vote-early'));
  await initech.restart();
  await world.settle();
  t.is((await initech.get(proposal)).approved, 1);
  const known = world.directory.of('INITECH');
  world.directory.change('INITECH', { approvers: [] });
  const vote = initech.sign({ kind: 'approval', proposal });
  await acme.hear('INITECH', { $case: 'ballot', value: { envelope: vote } });
  t.is((await acme.get(proposal)).approved, 1);
  world.directory.change('INITECH', { approvers: known?.approvers ?? [] });
  await acme.book.idle();
  t.is(await acme.state(proposal), PROPOSAL_STATE_APPROVED);
});
