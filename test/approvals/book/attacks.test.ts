import { randomBytes } from 'node:crypto';
import test from 'ava';
import { type Proposal, ProposalState } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { Exchange, LogEntry, ReceiptBody } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { REFUSALS_AT_ONCE } from '../../../src/approvals/book/muting.js';
import { parseLog } from '../../../src/approvals/log-export.js';
import { encodeStatement } from '../../../src/approvals/statement/statement.js';
import type { Envelope, ProposalFacts } from '../../../src/approvals/types.js';
import { FedgateError } from '../../../src/errors.js';
import { signDetached } from '../../../src/identity/signing.js';
import { Change } from '../../../src/store/store.js';
import { approverOf, ballotOf, orgName, person, signBytes, signStatement } from './people.js';
import { compared, DAY_MS, FEDERATION, gatewayKey, MINUTE_MS, type Side, START_MS, World } from './world.js';

/** Rows of the list of attacks in docs/approvals.md that concern a gateway; verifiers have theirs elsewhere. */

const { PROPOSAL_STATE_OPEN, PROPOSAL_STATE_APPROVED, PROPOSAL_STATE_REJECTED } = ProposalState;

const reasonOf = (error: unknown): string => (error instanceof FedgateError ? error.reason : String(error));
const refusal = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', reasonOf);

/** Three organisations, the first with three people, and a proposal that all hold: two must approve. */
async function proposed(changes: Parameters<Side['propose']>[0] = {}) {
  const world = await World.open({ ACME: 3, GLOBEX: 1, INITECH: 1 });
  const [acme, globex, initech] = [world.side('ACME'), world.side('GLOBEX'), world.side('INITECH')];
  const proposal = await acme.propose(changes);
  await world.settle();
  return { world, acme, globex, initech, proposal };
}

const ballot = (envelope: Envelope) => ({ $case: 'ballot', value: { envelope } }) as const;
const offer = (proposal: ProposalFacts) => {
  const statement = encodeStatement({ kind: 'approval', proposal });
  return { $case: 'offer', value: { statement, artifactShare: 'file://x', contentsShare: '' } } as const;
};
const standingOf = ({ standings }: Proposal, org: string) => standings.find(standing => standing.org === org);
const whyNots = (proposal: Proposal, org: string): string[] =>
  (standingOf(proposal, org)?.votes ?? []).filter(({ counts }) => !counts).map(({ whyNot }) => whyNot);

/** (r, n − s) of an ECDSA signature (r, s) in DER: OpenSSL takes both. */
function flipped(signature: Buffer): Buffer {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const rLength = signature[3] as number;
  const s = BigInt(`0x${signature.subarray(6 + rLength).toString('hex')}`);
  const hex = (order - s).toString(16);
  const raw = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  const value = (raw[0] as number) >= 0x80 ? Buffer.concat([Buffer.of(0), raw]) : raw;
  const body = Buffer.concat([signature.subarray(2, 4 + rLength), Buffer.of(2, value.length), value]);
  return Buffer.concat([Buffer.of(0x30, body.length), body]);
}

test('attack 1: the same organisation again — same key, another key, the signature repeated, made anew or with s flipped — counts once', async t => {
  const { world, acme, globex, proposal } = await proposed();
  const ecdsa = acme.people.find(({ key }) => key.algorithm === 'ecdsa-p256');
  if (!ecdsa) throw new Error('nobody has an ECDSA key');
  const first = acme.sign({ kind: 'approval', proposal }, ecdsa);
  t.false((await acme.book.vote(first)).duplicate);
  t.true((await acme.book.vote(first)).duplicate);
  t.true((await acme.book.vote(acme.sign({ kind: 'approval', proposal }, ecdsa))).duplicate);
  const signature = flipped(first.signatures[0]?.signature ?? Buffer.alloc(0));
  t.true((await acme.book.vote({ ...first, signatures: [{ keyId: '', signature }] })).duplicate);
  for (const other of acme.people) if (other !== ecdsa) await acme.vote('approve', proposal, other);
  const twice = { ...first, signatures: [...first.signatures, ...first.signatures] };
  t.is(await refusal(acme.book.vote(twice)), 'VOTE_INVALID');
  await world.settle();
  for (const envelope of [first, { ...first, signatures: [{ keyId: 'another hint', signature }] }, twice]) {
    await globex.hear('ACME', ballot(envelope));
  }
  // What is there already is nothing to complain of.
  t.deepEqual(globex.reasons(), ['VOTE_INVALID']);
  for (const side of [acme, globex]) {
    const held = await side.get(proposal);
    t.is(held.approved, 1);
    t.is(held.state, PROPOSAL_STATE_OPEN);
    t.is(standingOf(held, 'ACME')?.votes.length, 3);
    t.deepEqual(whyNots(held, 'ACME'), ['already counted: ACME has approved', 'already counted: ACME has approved']);
  }
});

test('attack 1: two keys of one approver are one approver', async t => {
  const world = await World.open({ ACME: 2, GLOBEX: 1 }, { required: 1 });
  const acme = world.side('ACME');
  world.directory.set(
    'ACME',
    [...acme.people.map(one => ({ ...approverOf(one), name: 'same' })), approverOf(person(9))],
    {
      required: 2,
    },
  );
  const proposal = await acme.propose({ threshold: 1 });
  for (const one of acme.people) await acme.vote('approve', proposal, one);
  const held = await acme.get(proposal);
  t.is(held.approved, 0);
  t.deepEqual(whyNots(held, 'ACME'), ['already counted: same has approved with another key']);
});

test('attack 5: an approval of another artifact, version, project or proposal is none of this one', async t => {
  const { acme, globex, proposal } = await proposed();
  const others: ProposalFacts[] = [
    { ...proposal, artifact: { ...proposal.artifact, sha256: 'ef'.repeat(32) } },
    { ...proposal, artifact: { ...proposal.artifact, size: 6 } },
    { ...proposal, version: '1.1' },
    { ...proposal, project: 'other' },
    { ...proposal, sequence: 2 },
    { ...proposal, threshold: 1 },
  ];
  for (const other of others) t.is(await refusal(acme.vote('approve', other)), 'VOTE_INVALID');
  t.is(await refusal(acme.vote('approve', { ...proposal, id: '12'.repeat(16) })), 'PROPOSAL_UNKNOWN');
  const wrong = { ...proposal, artifact: { ...proposal.artifact, sha256: 'ef'.repeat(32) } };
  t.is(await refusal(acme.vote('reject', wrong)), 'VOTE_INVALID');
  // A rejection or withdrawal offered in the name of another organisation, and one of another federation.
  t.is(await refusal(acme.book.vote(acme.sign(ballotOf('reject', proposal, 'GLOBEX')))), 'VOTE_INVALID');
  await globex.hear('INITECH', ballot(acme.sign({ kind: 'approval', proposal })));
  t.deepEqual(globex.reasons(), ['SIGNATURE_INVALID']);
  t.is((await globex.get(proposal)).approved, 0);
});

test('attack 6: another payload type, or a signature made for it, is no vote', async t => {
  const { acme, proposal } = await proposed();
  const [by] = acme.people;
  if (!by) throw new Error('nobody');
  const payload = encodeStatement({ kind: 'approval', proposal });
  const other = signBytes(payload, by, 'application/json');
  t.is(await refusal(acme.book.vote(other)), 'VOTE_INVALID');
  t.is(await refusal(acme.book.vote({ ...other, payloadType: 'application/vnd.in-toto+json' })), 'SIGNATURE_INVALID');
  t.is(await refusal(acme.book.vote(signBytes(Buffer.from('{}'), by))), 'STATEMENT_INVALID');
});

test('attack 10: late, early and backdated votes are kept and do not count; the time at which they came decides', async t => {
  const { world, acme, globex, initech, proposal } = await proposed({
    notBeforeMs: START_MS + DAY_MS,
    notAfterMs: START_MS + 2 * DAY_MS,
  });
  t.is(await refusal(acme.vote('approve', proposal)), 'VOTE_INVALID');
  await acme.hear('GLOBEX', ballot(globex.sign({ kind: 'approval', proposal })));
  t.regex(whyNots(await acme.get(proposal), 'GLOBEX')[0] ?? '', /^it came before/);
  await world.advance(DAY_MS - MINUTE_MS);
  await acme.vote('approve', proposal);
  t.is((await acme.get(proposal)).approved, 1);
  await world.advance(DAY_MS + 2 * MINUTE_MS);
  // Whatever time stands in it: its own gateway took it, and here it is over.
  await world.advance(1);
  const backdated = initech.sign(ballotOf('reject', proposal, 'INITECH', { timeMs: START_MS + DAY_MS }));
  await globex.hear('INITECH', ballot(backdated));
  t.is(await globex.state(proposal), ProposalState.PROPOSAL_STATE_EXPIRED);
  t.regex(whyNots(await globex.get(proposal), 'INITECH')[0] ?? '', /^it came/);
  t.is(await refusal(acme.vote('withdraw approve', proposal)), 'PROPOSAL_CLOSED');
});

test('attack 11: of a key that is revoked earlier votes count, later ones do not, whether compromised or departed', async t => {
  for (const compromised of [true, false]) {
    const { world, acme, globex, initech, proposal } = await proposed({ threshold: 3 });
    const [early] = globex.people;
    await globex.vote('approve', proposal);
    await world.settle();
    await world.advance(MINUTE_MS);
    const revocation = { timeMs: world.clock.nowMs, compromised };
    world.directory.changeApprover('GLOBEX', early?.key.id ?? '', { revocation });
    await world.settle();
    t.is((await acme.get(proposal)).approved, 1);
    t.is(await refusal(globex.vote('withdraw approve', proposal)), 'APPROVER_UNKNOWN');
    // Whoever has the stolen key and the gateway: what they send comes too late.
    await acme.hear('GLOBEX', ballot(globex.sign(ballotOf('withdraw approve', proposal, 'GLOBEX'))));
    const held = await acme.get(proposal);
    t.is(held.approved, 1);
    t.regex(whyNots(held, 'GLOBEX')[0] ?? '', /^the key is revoked/);
    await acme.vote('approve', proposal);
    await initech.vote('approve', proposal);
    await world.settle();
    t.is(await acme.state(proposal), PROPOSAL_STATE_APPROVED);
  }
});

test('attack 11: a key that is known to be stolen since before its vote takes that vote away while the proposal is open', async t => {
  const { world, acme, globex, proposal } = await proposed();
  await globex.vote('approve', proposal);
  await world.settle();
  const revocation = { timeMs: START_MS - 1, compromised: true };
  world.directory.changeApprover('GLOBEX', globex.people[0]?.key.id ?? '', { revocation });
  await world.settle();
  const held = await acme.get(proposal);
  t.is(held.approved, 0);
  t.regex(whyNots(held, 'GLOBEX')[0] ?? '', /somebody else may have it/);
  t.is(
    (await acme.book.list({ state: PROPOSAL_STATE_OPEN, proposer: '', project: '' }, undefined, 1)).proposals[0]
      ?.approved,
    0,
  );
});

test('attack 12: a member that goes while the proposal is open is not counted, which may make it impossible; what is approved stays', async t => {
  const { world, acme, globex, initech, proposal } = await proposed();
  const second = await acme.propose({ version: '2' });
  await world.settle();
  for (const one of [proposal, second]) await globex.vote('approve', one);
  await initech.vote('approve', proposal);
  await world.settle();
  t.is(await acme.state(proposal), PROPOSAL_STATE_APPROVED);
  world.directory.change('GLOBEX', { active: false });
  await world.settle();
  t.is((await acme.get(second)).approved, 0);
  t.is(await acme.state(second), PROPOSAL_STATE_OPEN);
  world.directory.remove('INITECH');
  await world.settle();
  t.is(await acme.state(second), PROPOSAL_STATE_REJECTED);
  t.is(await acme.state(proposal), PROPOSAL_STATE_APPROVED);
  t.true(await acme.book.isApproved(Buffer.from(proposal.artifact.sha256, 'hex')));
  // The signatures that were counted are in the proof: what they are worth by now, its readers decide by their policies.
  world.directory.change('GLOBEX', { active: true });
  const revocation = { timeMs: START_MS - 1, compromised: true };
  world.directory.changeApprover('GLOBEX', globex.people[0]?.key.id ?? '', { revocation });
  world.directory.set(
    'INITECH',
    initech.people.map(one => approverOf(one)),
  );
  t.is((await acme.get(proposal)).approved, 1);
  const { signatures } = await acme.book.approval({ id: Buffer.from(proposal.id, 'hex') });
  t.deepEqual(
    signatures.map(({ org }) => org as string),
    ['GLOBEX', 'INITECH'],
  );
});

test('attack 13: an organisation or a key that came after the proposal was made cannot vote', async t => {
  const world = await World.open({ ACME: 1, GLOBEX: 1, INITECH: 1 });
  const acme = world.side('ACME');
  const proposal = await acme.propose({ orgs: [acme.org, world.side('GLOBEX').org] });
  await world.settle();
  t.is(await refusal(world.side('INITECH').get(proposal)), 'PROPOSAL_UNKNOWN');
  await acme.hear('INITECH', ballot(world.side('INITECH').sign({ kind: 'approval', proposal })));
  t.deepEqual(acme.reasons(), ['APPROVER_UNKNOWN']);
  const late = person(21);
  world.directory.set('ACME', [...acme.people.map(one => approverOf(one)), approverOf(late)]);
  t.is(await refusal(acme.vote('approve', proposal, late)), 'APPROVER_UNKNOWN');
  t.is((await acme.get(proposal)).approved, 0);
});

test('attack 19: two statements under one id — the second is refused, it is an alarm, and the logs show it', async t => {
  const world = await World.open({ ACME: 1, GLOBEX: 1, INITECH: 1 });
  const [globex, initech] = [world.side('GLOBEX'), world.side('INITECH')];
  const proposal = await world.side('ACME').propose();
  const other = { ...proposal, artifact: { ...proposal.artifact, sha256: 'ef'.repeat(32) } };
  await globex.hear('ACME', offer(proposal), offer(other));
  await initech.hear('ACME', offer(other));
  t.deepEqual(
    globex.events.filter(({ kind }) => kind === 'alarm').map(event => 'reason' in event && event.reason),
    ['PROPOSAL_FORKED'],
  );
  t.is(Buffer.from((await globex.get(proposal)).artifactSha256).toString('hex'), proposal.artifact.sha256);
  // Each signs what it was shown; a vote for the other statement is an alarm as well, and counts nowhere.
  await globex.hear('INITECH', ballot(initech.sign({ kind: 'approval', proposal: other })));
  await initech.hear('GLOBEX', ballot(globex.sign(ballotOf('reject', proposal, 'GLOBEX'))));
  for (const side of [globex, initech]) {
    t.is(side.reasons().at(-1), 'PROPOSAL_FORKED');
    t.deepEqual([(await side.get(proposal)).approved, (await side.get(proposal)).rejected], [0, 0]);
  }
  const [found] = await compared(globex, initech);
  t.is(found?.proposal, proposal.id);
  t.regex(found?.contradictions[0] ?? '', /GLOBEX holds the statement .* INITECH the statement/);
  const refused = parseLog(await globex.exportLog()).entries.map(({ read }) => read.what);
  t.is(refused.filter(what => what?.$case === 'refused' && what.value.reason === 'PROPOSAL_FORKED').length, 2);
});

test('attack 20: votes go to everybody, not through the proposer; whoever denies one has given a receipt for it', async t => {
  const { world, acme, globex, initech, proposal } = await proposed();
  await globex.vote('reject', proposal);
  // The proposer passes nothing on: INITECH has it all the same, from GLOBEX itself.
  for (const one of await world.underWay()) if (one.letter.to === 'INITECH') await world.deliver(one);
  t.is((await initech.get(proposal)).rejected, 1);
  await world.settle();
  t.deepEqual(standingOf(await globex.get(proposal), 'GLOBEX')?.votes[0]?.receipts, ['ACME', 'INITECH']);
  // The proposer writes its log anew, without the vote: the receipt that it signed convicts it.
  const honest = parseLog(await acme.exportLog());
  const liar = await World.open({ ACME: 3, GLOBEX: 1, INITECH: 1 });
  await liar.side('ACME').hear('GLOBEX', offer({ ...proposal, proposer: globex.org, id: '77'.repeat(16) }));
  for (let i = 0; i < honest.entries.length; i++) await liar.side('ACME').propose({ version: `${i}` });
  const found = await compared(globex, liar.side('ACME'));
  t.true(found.some(({ contradictions }) => contradictions.some(text => /ACME gave GLOBEX a receipt/.test(text))));
  t.deepEqual(
    (await compared(globex, acme)).flatMap(({ contradictions }) => contradictions),
    [],
  );
});

test('attack 20: a receipt that somebody else signed, for something else, or with the certificate of another organisation, is an alarm and none', async t => {
  const { world, acme, globex, proposal } = await proposed();
  await globex.vote('approve', proposal);
  const id = Buffer.from(proposal.id, 'hex');
  const body = (changes: Partial<ReceiptBody> = {}): Buffer =>
    Buffer.from(
      ReceiptBody.encode({
        federation: FEDERATION,
        org: 'INITECH',
        gateway: 'gw',
        proposalId: id,
        subjectSha256: Buffer.alloc(32),
        receiveTimeMs: 1n,
        logIndex: 1n,
        logHash: Buffer.alloc(32),
        ...changes,
      }).finish(),
    );
  const receipt = (bytes: Buffer, by = 'INITECH', certified = by) => {
    const { privateKey } = gatewayKey(by);
    const { certificate } = gatewayKey(certified);
    const signature = signDetached('approval-receipt', privateKey, bytes);
    return { $case: 'receipt', value: { body: bytes, signature, certificate } } as const;
  };
  await globex.hear('INITECH', receipt(body()));
  await globex.hear('INITECH', receipt(body({ org: 'ACME' }), 'ACME'));
  await globex.hear('INITECH', receipt(body(), 'ACME'));
  await globex.hear('INITECH', receipt(body(), 'ACME', 'INITECH'));
  await globex.hear('INITECH', receipt(body({ federation: 'other.example' })));
  t.deepEqual(globex.reasons(), [
    'RECEIPT_INVALID',
    'RECEIPT_INVALID',
    'CERTIFICATE_UNTRUSTED',
    'RECEIPT_INVALID',
    'RECEIPT_INVALID',
  ]);
  t.deepEqual(standingOf(await globex.get(proposal), 'GLOBEX')?.votes[0]?.receipts, []);
  await world.settle();
  t.deepEqual(acme.reasons(), []);
});

test('attack 21: an older proposal of a project is not taken after a newer one, nor the same once more', async t => {
  const world = await World.open({ ACME: 1, GLOBEX: 1 });
  const [acme, globex] = [world.side('ACME'), world.side('GLOBEX')];
  const old = await acme.propose();
  const recent = await acme.propose({ version: '2' });
  await globex.hear('ACME', offer(recent));
  await globex.hear('ACME', offer(old));
  t.deepEqual(globex.reasons(), ['PROPOSAL_STALE']);
  t.is(await refusal(globex.get(old)), 'PROPOSAL_UNKNOWN');
  await globex.hear('ACME', offer({ ...recent, id: '31'.repeat(16) }));
  t.deepEqual(globex.reasons(), ['PROPOSAL_STALE', 'PROPOSAL_STALE']);
  await globex.restart();
  await globex.hear('ACME', offer(old), offer(recent));
  t.is(globex.reasons().length, 3);
});

test('attack 21: a gateway that was restored from a backup goes on above what others have seen', async t => {
  const world = await World.open({ ACME: 1, GLOBEX: 1 });
  const acme = world.side('ACME');
  await acme.propose();
  await world.settle();
  const backup = acme.store.backup();
  await acme.propose({ version: '2' });
  await world.settle();
  await acme.book.close();
  await world.advance(1);
  acme.store = backup(world.clock.nowMs);
  await acme.open();
  const after = await acme.propose({ version: '3' });
  const other = await acme.propose({ version: '4' });
  await world.settle();
  t.is(await world.side('GLOBEX').state(after), PROPOSAL_STATE_OPEN);
  t.deepEqual([after.sequence, other.sequence], [1_002, 1_003]);
  t.true(parseLog(await acme.exportLog()).entries.length > 3);
});

test('attack 22: a vote is final until it is withdrawn, and that only while the proposal is open', async t => {
  const { world, acme, globex, initech, proposal } = await proposed();
  await globex.vote('approve', proposal);
  t.is(await refusal(globex.vote('reject', proposal)), 'VOTE_FINAL');
  await world.settle();
  await acme.hear('GLOBEX', ballot(globex.sign(ballotOf('reject', proposal, 'GLOBEX'))));
  t.deepEqual(acme.reasons(), ['VOTE_FINAL']);
  await globex.vote('withdraw approve', proposal);
  await globex.vote('reject', proposal);
  await world.settle();
  t.deepEqual([(await acme.get(proposal)).approved, (await acme.get(proposal)).rejected], [0, 1]);
  // The withdrawn approval, replayed by whoever recorded it.
  await acme.hear('GLOBEX', ballot(globex.sign({ kind: 'approval', proposal })));
  t.is((await acme.get(proposal)).approved, 0);
  await acme.vote('approve', proposal);
  await initech.vote('approve', proposal);
  await world.settle();
  t.is(await acme.state(proposal), PROPOSAL_STATE_APPROVED);
  t.is(await refusal(initech.vote('withdraw approve', proposal)), 'PROPOSAL_CLOSED');
  await acme.hear('INITECH', ballot(initech.sign(ballotOf('withdraw approve', proposal, 'INITECH'))));
  const held = await acme.get(proposal);
  t.is(held.state, PROPOSAL_STATE_APPROVED);
  t.deepEqual(whyNots(held, 'INITECH'), ['it came when the proposal was approved']);
});

test('attack 23: a flood of junk votes counts for nothing, keeps the log small, and holds up nobody', async t => {
  const { world, acme, globex, initech, proposal } = await proposed();
  const before = parseLog(await acme.exportLog()).entries.length;
  const junk = Array.from({ length: 1_000 }, (_, i) => {
    const payload = i % 2 === 0 ? encodeStatement({ kind: 'approval', proposal }) : randomBytes(200);
    const payloadType = 'application/vnd.in-toto+json';
    return ballot({ payloadType, payload, signatures: [{ keyId: '', signature: randomBytes(70) }] });
  });
  const flood = acme.hear('INITECH', ...junk);
  await globex.vote('approve', proposal);
  await world.settle();
  await flood;
  await initech.vote('approve', proposal);
  await world.settle();
  t.is(await acme.state(proposal), PROPOSAL_STATE_APPROVED);
  const { entries } = parseLog(await acme.exportLog());
  t.true(entries.length <= before + REFUSALS_AT_ONCE + 10);
  t.is(acme.events.filter(({ kind }) => kind === 'refusals-muted').length, 1);
  const junkOfMany = signStatement({ kind: 'approval', proposal }, person(30));
  const many = { ...junkOfMany, signatures: Array.from({ length: 1_000 }, () => junkOfMany.signatures[0] as never) };
  t.is(await refusal(acme.book.vote(many)), 'VOTE_INVALID');
});

test('attack 23: votes for proposals that do not exist are kept within bounds, and so is what waits', async t => {
  const world = await World.open({ ACME: 1, GLOBEX: 1 });
  const acme = world.side('ACME');
  acme.limits = { earlyPerOrg: 10, inboxPerOrg: 50 };
  await acme.restart();
  const made = await world.side('GLOBEX').propose();
  const votes = Array.from({ length: 50 }, (_, i) => {
    const id = i.toString(16).padStart(32, '0');
    return ballot(world.side('GLOBEX').sign({ kind: 'approval', proposal: { ...made, id } }));
  });
  await acme.hear('GLOBEX', ...votes);
  t.is((await acme.store.scan('approval-early', { limit: 100 })).length, 10);
  t.true(acme.events.some(({ kind }) => kind === 'early-dropped'));
  const change = new Change();
  const bytes = votes.map(what => Buffer.from(Exchange.encode({ what }).finish()));
  acme.book.receive(orgName('GLOBEX'), bytes, change);
  const error = t.throws(() => acme.book.receive(orgName('GLOBEX'), bytes, change));
  t.is(reasonOf(error), 'LIMIT_REACHED');
  // The change failed: what was counted for it does not stand in the way for ever.
  await acme.book.idle();
  await acme.hear('GLOBEX', ...votes);
});

test('attack 23: whoever may propose has only so many open proposals', async t => {
  const world = await World.open({ ACME: 1, GLOBEX: 1 });
  const [acme, globex] = [world.side('ACME'), world.side('GLOBEX')];
  globex.limits = { openPerOrg: 3 };
  await globex.restart();
  for (let i = 0; i < 5; i++) await acme.propose({ version: `${i}` });
  await world.settle();
  t.deepEqual(globex.reasons(), ['LIMIT_REACHED', 'LIMIT_REACHED']);
  const filter = { state: PROPOSAL_STATE_OPEN, proposer: '', project: '' };
  t.is((await globex.book.list(filter, undefined, 10)).proposals.length, 3);
  t.is(
    (await acme.book.list(filter, undefined, 10)).proposals.filter(one => one.standings[1]?.refusal !== '').length,
    2,
  );
});

test('attack 23: somebody else’s proposal, withdrawal or refusal is none', async t => {
  const { globex, initech, proposal } = await proposed();
  const id = Buffer.from(proposal.id, 'hex');
  await globex.hear('INITECH', offer({ ...proposal, id: '41'.repeat(16), sequence: 9 }));
  await globex.hear('INITECH', { $case: 'recall', value: { proposalId: id, reason: 'ours now' } });
  await globex.hear('INITECH', { $case: 'refusal', value: { proposalId: id, reason: 'NOT_GRANTED', message: '' } });
  await globex.hearBytes('INITECH', Buffer.from('no message at all'));
  t.deepEqual(globex.reasons(), ['IDENTITY_MISMATCH', 'IDENTITY_MISMATCH', 'PROPOSAL_UNKNOWN', 'FRAME_MALFORMED']);
  t.is(await globex.state(proposal), PROPOSAL_STATE_OPEN);
  t.deepEqual(initech.reasons(), []);
  const entries = parseLog(await globex.exportLog()).entries.map(({ entry }) => LogEntry.decode(entry));
  t.is(entries.filter(({ what, org }) => what?.$case === 'refused' && org === 'INITECH').length, 4);
});
