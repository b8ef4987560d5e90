import test from 'ava';
import { ProposalState } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { TABLE } from '../../../src/approvals/book/tables.js';
import { CHAIN_START, chainHash } from '../../../src/approvals/log-chain.js';
import { parseLog } from '../../../src/approvals/log-export.js';
import { FedgateError } from '../../../src/errors.js';
import { key } from '../../../src/store/keys.js';
import { Change } from '../../../src/store/store.js';
import { orgName } from './people.js';
import { type Side, World } from './world.js';

const { PROPOSAL_STATE_OPEN, PROPOSAL_STATE_APPROVED } = ProposalState;
const OPEN = { state: PROPOSAL_STATE_OPEN, proposer: '', project: '' };
const ANY = { ...OPEN, state: ProposalState.PROPOSAL_STATE_UNSPECIFIED };

const reasonOf = (error: unknown): string => (error instanceof FedgateError ? error.reason : String(error));
const refusal = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', reasonOf);
const two = (): Promise<World> => World.open({ ACME: 1, GLOBEX: 1 });
const idOf = ({ id }: { readonly id: string }): Buffer => Buffer.from(id, 'hex');
const damaged = (side: Side): string[] =>
  side.events.flatMap(event => (event.kind === 'row-damaged' ? [event.table] : []));

test('book: everything is as it was after a restart', async t => {
  const world = await two();
  const acme = world.side('ACME');
  const made = [];
  for (let i = 0; i < 6; i++) made.push(await acme.propose({ version: `${i}`, note: `note ${i}` }));
  await world.settle();
  for (const one of made.slice(0, 2)) await acme.vote('approve', one);
  await world.side('GLOBEX').vote('approve', made[0] as never);
  await acme.book.withdraw(idOf(made[5] as never), 'no');
  await world.settle();
  for (const side of world.sides.values()) {
    const before = await Promise.all(made.map(one => side.get(one)));
    const lists = [await side.book.list(ANY, undefined, 99), await side.book.list(OPEN, undefined, 99)];
    const log = await side.exportLog();
    await side.restart();
    t.deepEqual(await Promise.all(made.map(one => side.get(one))), before);
    const plain = (value: unknown) => JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? `${part}` : part));
    const again = [await side.book.list(ANY, undefined, 99), await side.book.list(OPEN, undefined, 99)];
    t.is(
      plain(again.map(list => list.proposals.map(({ version, state, approved }) => [version, state, approved]))),
      plain(lists.map(list => list.proposals.map(({ version, state, approved }) => [version, state, approved]))),
    );
    t.is(await side.exportLog(), log);
  }
});

test('book: what came is looked at once, however often the process dies meanwhile', async t => {
  for (const stored of [0, 1, 2, 3]) {
    const world = await two();
    const [acme, globex] = [world.side('ACME'), world.side('GLOBEX')];
    const proposal = await acme.propose();
    const [letter] = await world.underWay();
    if (!letter) throw new Error('nothing was sent');
    globex.store.manual = true;
    const change = new Change();
    const committed = globex.book.receive(letter.letter.from, [letter.letter.bytes], change);
    const done = globex.store.commit(change);
    globex.store.flush();
    await done;
    committed();
    for (let i = 0; i < 20 && globex.store.waiting === 0; i++) await new Promise(resolve => setImmediate(resolve));
    t.is(globex.store.waiting, 1);
    await globex.restart(stored);
    await globex.book.idle();
    t.is(await globex.state(proposal), PROPOSAL_STATE_OPEN);
    const { entries } = parseLog(await globex.exportLog());
    t.deepEqual(
      entries.map(({ read }) => read.what?.$case),
      ['offered'],
    );
    t.is((await globex.store.scan(TABLE.inbox, { limit: 9 })).length, 0);
    t.is((await globex.store.scan('test-outbox', { limit: 9 })).length, 1, 'one receipt');
  }
});

test('book: a disk that fails is an answer for nodes, and another try for what other gateways said', async t => {
  const world = await two();
  const [acme, globex] = [world.side('ACME'), world.side('GLOBEX')];
  acme.store.failures = 1;
  t.is(await refusal(acme.propose()), 'STORE_FAILED');
  t.is(parseLog(await acme.exportLog()).entries.length, 0);
  const proposal = await acme.propose();
  t.is(proposal.sequence, 1);
  await world.settle();
  acme.store.failures = 1;
  t.is(await refusal(acme.vote('approve', proposal)), 'STORE_FAILED');
  t.is((await acme.get(proposal)).approved, 0);
  t.false((await acme.vote('approve', proposal)).duplicate);
  const [letter] = await world.underWay();
  if (!letter) throw new Error('nothing was sent');
  const change = new Change();
  const committed = globex.book.receive(letter.letter.from, [letter.letter.bytes], change);
  await globex.store.commit(change);
  globex.store.failures = 1;
  committed();
  await globex.book.idle();
  t.is((await globex.get(proposal)).approved, 0);
  t.true(globex.events.some(({ kind }) => kind === 'failed'));
  await world.advance(1_000);
  t.is((await globex.get(proposal)).approved, 1);
  for (const side of world.sides.values()) parseLog(await side.exportLog());
});

test('book: what was put into a change that failed is not looked at, and does not count for ever', async t => {
  const world = await two();
  const globex = world.side('GLOBEX');
  globex.limits = { inboxPerOrg: 2 };
  await globex.restart();
  for (let i = 0; i < 10; i++) {
    const change = new Change();
    try {
      globex.book.receive(orgName('ACME'), [Buffer.alloc(3), Buffer.alloc(3)], change);
    } catch (error) {
      t.is(reasonOf(error), 'LIMIT_REACHED');
    }
    await globex.book.idle();
  }
  const proposal = await world.side('ACME').propose();
  await world.settle();
  t.is(await globex.state(proposal), PROPOSAL_STATE_OPEN);
});

test('book: damaged rows are told of, and concern nothing but themselves', async t => {
  const world = await two();
  const acme = world.side('ACME');
  const [first, second, third] = [
    await acme.propose({ version: '1' }),
    await acme.propose({ version: '2' }),
    await acme.propose({ version: '3' }),
  ];
  await world.settle();
  await acme.vote('approve', first);
  await acme.vote('approve', second);
  await world.side('GLOBEX').vote('approve', second);
  await world.settle();
  const rows = (await acme.store.scan(TABLE.vote, { limit: 9 })).filter(row =>
    row.key.subarray(0, 16).equals(idOf(first)),
  );
  acme.store.damageRow(TABLE.vote, rows[0]?.key ?? Buffer.alloc(0));
  acme.store.damageRow(TABLE.proposal, idOf(third));
  acme.store.damageRow(TABLE.summary, key(1));
  acme.store.damageRow(TABLE.log, key(2));
  acme.store.damageRow(TABLE.artifact, Buffer.concat([Buffer.from(second.artifact.sha256, 'hex'), key(2)]));
  await acme.restart();
  await acme.book.idle();
  t.deepEqual([...new Set(damaged(acme))].sort(), [TABLE.proposal, TABLE.summary, TABLE.vote]);
  t.is(await refusal(acme.get(third)), 'STORE_DAMAGED');
  t.is(await refusal(acme.vote('approve', third)), 'STORE_DAMAGED');
  t.is((await acme.get(first)).approved, 0);
  t.is(await acme.state(second), PROPOSAL_STATE_APPROVED);
  t.true(await acme.book.isApproved(Buffer.from(second.artifact.sha256, 'hex')));
  const listed = (await acme.book.list(ANY, undefined, 9)).proposals.map(({ version }) => version);
  t.deepEqual(listed, ['3', '2', '1']);
  // The vote that was lost can be cast again: nobody counts it twice.
  await acme.vote('approve', first);
  await world.side('GLOBEX').vote('approve', first);
  await world.settle();
  t.is(await acme.state(first), PROPOSAL_STATE_APPROVED);
  await world.side('GLOBEX').vote('approve', third);
  await world.settle();
  t.true(acme.reasons().includes('STORE_DAMAGED'));
  const error = t.throws(() => parseLog(''));
  t.is(reasonOf(error), 'FIELD_INVALID');
  t.is(await refusal(acme.exportLog().then(parseLog)), 'LOG_FORKED');
});

test('book: the log goes on when its newest row is damaged', async t => {
  const world = await two();
  const acme = world.side('ACME');
  for (let i = 0; i < 3; i++) await acme.propose({ version: `${i}` });
  const before = parseLog(await acme.exportLog()).entries;
  acme.store.damageRow(TABLE.log, key(3));
  await acme.restart();
  t.deepEqual(damaged(acme), [TABLE.log]);
  await acme.propose({ version: '4' });
  const entries = [];
  for await (const entry of acme.book.log(0, new AbortController().signal)) entries.push(entry);
  t.deepEqual(
    entries.map(({ index }) => index),
    [1, 2, 4],
  );
  t.deepEqual(entries[1]?.hash, before[1]?.hash);
  t.deepEqual(entries[2]?.hash, chainHash(before[2]?.hash ?? CHAIN_START, entries[2]?.entry ?? CHAIN_START));
});

test('book: a restored backup goes on with its log, and what comes again counts once', async t => {
  const world = await two();
  const [acme, globex] = [world.side('ACME'), world.side('GLOBEX')];
  const proposal = await acme.propose();
  await world.settle();
  const backup = globex.store.backup();
  const vote = acme.sign({ kind: 'approval', proposal });
  await acme.book.vote(vote);
  await world.settle();
  await globex.book.close();
  globex.store = backup(world.clock.nowMs);
  await globex.open();
  t.is((await globex.get(proposal)).approved, 0);
  for (let i = 0; i < 2; i++) await globex.hear('ACME', { $case: 'ballot', value: { envelope: vote } });
  t.is((await globex.get(proposal)).standings[0]?.votes.length, 1);
  t.is((await globex.get(proposal)).approved, 1);
  const { entries } = parseLog(await globex.exportLog());
  t.is(entries.filter(({ read }) => read.what?.$case === 'voted').length, 1);
  t.deepEqual(globex.reasons(), []);
  await world.settle();
});

test('book: a registry that does not know anybody, not even us, ends no proposal', async t => {
  const world = await two();
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  const members = [...world.directory.all()];
  world.directory.remove('GLOBEX');
  world.directory.remove('ACME');
  await acme.book.idle();
  t.is(await acme.state(proposal), PROPOSAL_STATE_OPEN);
  await acme.restart();
  await acme.book.idle();
  for (const { org, approvers } of members) world.directory.set(org, approvers);
  await acme.book.idle();
  t.is(await acme.state(proposal), PROPOSAL_STATE_OPEN);
  t.is((await acme.book.list(OPEN, undefined, 9)).proposals.length, 1);
});

test('book: while the snapshot of the registry is over nobody counts, and no proposal ends', async t => {
  const world = await two();
  const acme = world.side('ACME');
  const proposal = await acme.propose();
  await world.settle();
  await world.side('GLOBEX').vote('approve', proposal);
  await world.settle();
  const all = [...world.directory.all()].map(({ org }) => org);
  for (const org of all) world.directory.change(org, { active: false });
  await acme.restart();
  await acme.book.idle();
  t.like(await acme.get(proposal), { state: PROPOSAL_STATE_OPEN, approved: 0 });
  for (const org of all) world.directory.change(org, { active: true });
  await acme.book.idle();
  t.like(await acme.get(proposal), { state: PROPOSAL_STATE_OPEN, approved: 1 });
});

test('book: after its end it takes nothing, and whoever watches is told that it is over', async t => {
  const world = await two();
  const acme = world.side('ACME');
  const watching = acme.book.watch({ id: undefined, proposer: '', project: '' }, new AbortController().signal);
  const next = watching.next();
  await acme.book.close();
  t.is(await refusal(next), 'DRAINING');
  t.is(await refusal(acme.propose()), 'DRAINING');
  t.is(reasonOf(t.throws(() => acme.book.receive(orgName('GLOBEX'), [], new Change()))), 'DRAINING');
});
