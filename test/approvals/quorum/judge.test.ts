import test from 'ava';
import fc from 'fast-check';
import { votesOf } from '../../../src/approvals/quorum/casting.js';
import { GRACE_MS } from '../../../src/approvals/quorum/eligibility.js';
import { judge } from '../../../src/approvals/quorum/judge.js';
import type { CountableVote, Ended, Judgement } from '../../../src/approvals/quorum/types.js';
import type { Approver, ApproverOrg, ProposalFacts } from '../../../src/approvals/types.js';
import { approverOf, orgName, person, TestDirectory } from '../book/people.js';

/** The real counting, next to what it must never do. */

const NOT_BEFORE = 1_000_000;
const NOT_AFTER = 2_000_000;
const MIDDLE = 1_500_000;

/** How an organisation of a generated case is made: `people` for its keys, two keys for one approver when they have the same number. */
interface OrgCase {
  readonly people: readonly number[];
  readonly required: number;
}

const orgCase: fc.Arbitrary<OrgCase> = fc
  .array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 3 })
  .chain(people =>
    fc.record({ people: fc.constant(people), required: fc.integer({ min: 1, max: new Set(people).size }) }),
  );

const cases = fc
  .array(orgCase, { minLength: 1, maxLength: 4 })
  .chain(orgs => fc.record({ orgs: fc.constant(orgs), threshold: fc.integer({ min: 1, max: orgs.length }) }));

interface Case {
  readonly proposal: ProposalFacts;
  readonly directory: TestDirectory;
  /** Every key of every organisation. */
  readonly keys: readonly { readonly org: string; readonly keyId: string }[];
}

function build({ orgs, threshold }: { readonly orgs: readonly OrgCase[]; readonly threshold: number }): Case {
  const directory = new TestDirectory();
  const keys: { org: string; keyId: string }[] = [];
  let next = 0;
  const approvers: ApproverOrg[] = orgs.map(({ people, required }, place) => {
    const org = `ORG-${place}`;
    const registered: Approver[] = people.map(number => ({ ...approverOf(person(next++)), name: `p${number}` }));
    directory.set(org, registered, { required });
    keys.push(...registered.map(({ key }) => ({ org, keyId: key.id })));
    const keyIds = registered.map(({ key }) => key.id).sort();
    return { org: orgName(org), trustDomain: `${org.toLowerCase()}.fed.example`, required, keyIds };
  });
  const proposal: ProposalFacts = {
    id: '00'.repeat(16),
    federation: 'fed.example',
    project: 'tool',
    version: '1',
    sequence: 1,
    artifact: { name: 'tool', kind: 'file', size: 1, sha256: 'ab'.repeat(32) },
    proposer: orgName('ORG-0'),
    approvers,
    threshold,
    createdMs: NOT_BEFORE,
    notBeforeMs: NOT_BEFORE,
    notAfterMs: NOT_AFTER,
    note: '',
    links: [],
  };
  return { proposal, directory, keys };
}

const word = fc.constantFrom('approve', 'reject', 'withdraw approve', 'withdraw reject' as const);
const said = fc.array(
  fc.record({ key: fc.nat(), word, receiveMs: fc.constantFrom(MIDDLE, MIDDLE, 1, NOT_AFTER * 2) }),
  {
    maxLength: 14,
  },
);
type Said = typeof said extends fc.Arbitrary<infer T> ? T : never;

/** The votes that a gateway would have taken, of all that were sent to it. */
function cast({ keys }: Case, all: Said): CountableVote[] {
  const votes: CountableVote[] = [];
  for (const { key, word: what, receiveMs } of all) {
    const of = keys[key % keys.length];
    const [kind, withdraws] = what.split(' ') as [CountableVote['kind'], CountableVote['withdraws']];
    if (!of) continue;
    const vote = { org: orgName(of.org), keyId: of.keyId, kind, withdraws, receiveMs };
    if (!votesOf(votes, vote.keyId).refuses(vote)) votes.push(vote);
  }
  return votes;
}

const count = (of: Case, votes: readonly CountableVote[], nowMs = MIDDLE, ended?: Ended): Judgement =>
  judge(of.proposal, votes, of.directory, nowMs, ended);

/** As a gateway does it: one vote after the other, and what is found once stays. */
function follow(of: Case, votes: readonly CountableVote[]): Judgement {
  let ended: Ended | undefined;
  for (let n = 0; n <= votes.length; n++) {
    const found = count(of, votes.slice(0, n), MIDDLE, ended);
    if (!ended && found.state !== 'open') ended = { state: found.state, votes: n };
  }
  return count(of, votes, MIDDLE, ended);
}

const property = fc.property.bind(fc);
const RUNS = { numRuns: 500 };

test('quorum: an organisation never counts twice, however many of its keys vote, and only with so many different approvers', t => {
  fc.assert(
    property(cases, said, (orgs, all) => {
      const of = build(orgs);
      const votes = cast(of, all);
      const { approved, rejected, orgs: found, votes: findings } = count(of, votes);
      t.true(approved + rejected <= of.proposal.approvers.length);
      t.is(approved, found.filter(({ decision }) => decision === 'approve').length);
      for (const [place, { decision, countedKeys }] of found.entries()) {
        const { org, required } = of.proposal.approvers[place] as ApproverOrg;
        const counting = votes.filter((vote, i) => vote.org === org && vote.kind === 'approve' && findings[i]?.counts);
        const names = new Set(
          counting.map(({ keyId }) => of.directory.of(org)?.approvers.find(({ key }) => key.id === keyId)?.name),
        );
        t.is(names.size, counting.length);
        t.true(counting.length <= required);
        t.is(decision === 'approve', counting.length === required);
        t.deepEqual([...countedKeys], decision === 'approve' ? counting.map(({ keyId }) => keyId) : []);
      }
    }),
    RUNS,
  );
  t.pass();
});

test('quorum: each vote either counts or is said why it does not', t => {
  fc.assert(
    property(cases, said, (orgs, all) => {
      const of = build(orgs);
      for (const { counts, whyNot } of count(of, cast(of, all)).votes) t.is(counts, whyNot === '');
    }),
    RUNS,
  );
});

/** Another order in which the votes may come: those of one organisation stay in theirs. */
function interleave(votes: readonly CountableVote[], picks: readonly number[]): CountableVote[] {
  const queues = new Map<string, CountableVote[]>();
  for (const vote of votes) queues.set(vote.org, [...(queues.get(vote.org) ?? []), vote]);
  const out: CountableVote[] = [];
  for (let i = 0; out.length < votes.length; i++) {
    const open = [...queues.values()].filter(({ length }) => length > 0);
    const next = open[(picks[i % Math.max(1, picks.length)] ?? 0) % open.length]?.shift();
    if (next) out.push(next);
  }
  return out;
}

test('quorum: in which order the votes of different organisations came does not change what is counted of them', t => {
  fc.assert(
    property(cases, said, fc.array(fc.nat()), (orgs, all, picks) => {
      const of = build(orgs);
      const votes = cast(of, all);
      const { votes: _, ...found } = count(of, votes);
      const { votes: __, ...again } = count(of, interleave(votes, picks));
      t.deepEqual(again, found);
    }),
    RUNS,
  );
});

test('quorum: when nobody takes back a decision, the outcome is the same in whatever order votes come', t => {
  fc.assert(
    property(cases, said, fc.array(fc.nat()), (orgs, all, picks) => {
      const of = build(orgs);
      const first = new Map<string, string>();
      const decided = cast(of, all).filter(({ org, kind }) => {
        if (kind === 'withdraw') return false;
        if (!first.has(org)) first.set(org, kind);
        return first.get(org) === kind;
      });
      t.is(follow(of, interleave(decided, picks)).state, follow(of, decided).state);
    }),
    RUNS,
  );
});

/** The votes with which a key approves after these, when it can. A rejection that came at a wrong time counts for nothing, but must be withdrawn. */
function stillApproves(votes: readonly CountableVote[], org: string, keyId: string): CountableVote[] {
  const said = votesOf(votes, keyId);
  if (said.has('approve')) return [];
  const vote = { org: orgName(org), keyId, kind: 'approve', withdraws: undefined, receiveMs: MIDDLE } as const;
  return said.standing === 'reject' ? [{ ...vote, kind: 'withdraw', withdraws: 'reject' }, vote] : [vote];
}

test('quorum: rejected exactly when no further approvals could be enough', t => {
  fc.assert(
    property(cases, said, (orgs, all) => {
      const of = build(orgs);
      const votes = cast(of, all);
      const { state, orgs: found } = count(of, votes);
      const lost = new Set(found.filter(({ decision }) => decision === 'reject').map(({ org }) => org));
      const rest = of.keys.flatMap(({ org, keyId }) =>
        lost.has(orgName(org)) ? [] : stillApproves(votes, org, keyId),
      );
      const best = count(of, [...votes, ...rest]).state;
      if (state === 'approved') t.is(best, 'approved');
      else t.is(best, state === 'rejected' ? 'rejected' : 'approved');
    }),
    RUNS,
  );
});

test('quorum: what is found once stays found, whatever votes come, whatever the registry says and whenever it is asked', t => {
  fc.assert(
    property(cases, said, fc.nat(), fc.constantFrom('remove', 'suspend', 'revoke', 'later'), (orgs, all, cut, deed) => {
      const of = build(orgs);
      const votes = cast(of, all);
      const before = votes.slice(0, cut % (votes.length + 1));
      const { state } = count(of, before);
      if (state === 'open') return;
      const nowMs = deed === 'later' ? NOT_AFTER * 3 : MIDDLE;
      if (deed === 'remove') of.directory.remove('ORG-0');
      if (deed === 'suspend') of.directory.change('ORG-0', { active: false });
      const revocation = { timeMs: 0, compromised: true };
      if (deed === 'revoke') of.directory.changeApprover('ORG-0', of.keys[0]?.keyId ?? '', { revocation });
      t.is(count(of, votes, nowMs, { state, votes: before.length }).state, state);
    }),
    RUNS,
  );
});

const vote = (of: Case, key: number, changes: Partial<CountableVote> = {}): CountableVote => ({
  org: orgName(of.keys[key]?.org ?? ''),
  keyId: of.keys[key]?.keyId ?? '',
  kind: 'approve',
  withdraws: undefined,
  receiveMs: MIDDLE,
  ...changes,
});
const twoOfTwo = (): Case =>
  build({
    orgs: [
      { people: [0], required: 1 },
      { people: [0], required: 1 },
    ],
    threshold: 2,
  });

test('quorum: votes count from a minute before the beginning to a minute after the end, by the time at which they came', t => {
  const of = twoOfTwo();
  const counts = (receiveMs: number) => count(of, [vote(of, 0, { receiveMs })], NOT_AFTER).votes[0]?.counts;
  t.false(counts(NOT_BEFORE - GRACE_MS - 1));
  t.true(counts(NOT_BEFORE - GRACE_MS));
  t.true(counts(NOT_AFTER + GRACE_MS));
  t.false(counts(NOT_AFTER + GRACE_MS + 1));
  t.is(count(of, [], NOT_AFTER + GRACE_MS).state, 'open');
  t.is(count(of, [], NOT_AFTER + GRACE_MS + 1).state, 'expired');
  t.is(count(of, [vote(of, 0), vote(of, 1)], NOT_AFTER * 9).state, 'approved');
});

test('quorum: of a key that was revoked what came before that counts, whether it is compromised or its owner has left', t => {
  for (const compromised of [true, false]) {
    const of = twoOfTwo();
    const revocation = { timeMs: MIDDLE, compromised };
    of.directory.changeApprover('ORG-0', of.keys[0]?.keyId ?? '', { revocation });
    t.is(count(of, [vote(of, 0, { receiveMs: MIDDLE - 1 }), vote(of, 1)]).state, 'approved');
    const late = count(of, [vote(of, 0), vote(of, 1)]);
    t.is(late.state, 'rejected');
    t.regex(late.votes[0]?.whyNot ?? '', /^the key is revoked/);
    t.is(count(of, []).state, 'rejected', 'it cannot vote any more');
  }
});

test('quorum: the votes of a member that is not active, or of a key that its record does not name, count again when it does', t => {
  const of = twoOfTwo();
  const votes = [vote(of, 0), vote(of, 1)];
  of.directory.change('ORG-0', { active: false });
  t.is(count(of, votes).state, 'rejected');
  t.is(count(of, votes).votes[0]?.whyNot, 'ORG-0 is not an active member');
  of.directory.change('ORG-0', { active: true });
  t.is(count(of, votes).state, 'approved');
  const known = of.directory.of('ORG-0')?.approvers ?? [];
  of.directory.change('ORG-0', { approvers: [] });
  t.is(count(of, votes).state, 'rejected');
  of.directory.change('ORG-0', { approvers: known });
  t.is(count(of, votes).state, 'approved');
});

test('quorum: a key that the proposal does not name, and an organisation that it does not, never count', t => {
  const of = twoOfTwo();
  const stranger = approverOf(person(20));
  of.directory.change('ORG-0', { approvers: [...(of.directory.of('ORG-0')?.approvers ?? []), stranger] });
  of.directory.set('ORG-9', [stranger]);
  const { approved, votes } = count(of, [
    vote(of, 0, { keyId: stranger.key.id }),
    vote(of, 0, { org: orgName('ORG-9'), keyId: stranger.key.id }),
  ]);
  t.is(approved, 0);
  t.deepEqual(
    votes.map(({ whyNot }) => whyNot),
    ['the proposal does not name this key of ORG-0', 'the proposal does not name ORG-9'],
  );
});
