import test from 'ava';
import fc from 'fast-check';
import { type Proposal, ProposalState } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { LogEntry } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { parseLog } from '../../../src/approvals/log-export.js';
import type { ProposalFacts } from '../../../src/approvals/types.js';
import { FedgateError } from '../../../src/errors.js';
import { orgName } from './people.js';
import { compared, DAY_MS, type Side, World } from './world.js';

/**
 * Several books, links that keep only the order of each pair, processes that die at any commit, keys that are revoked, members that are
 * suspended, and time that passes. What each of them says in the end is checked against its own log, and against the others.
 */

const ORGS = ['ACME', 'GLOBEX', 'INITECH', 'UMBRELLA', 'HOOLI'];
const FINAL = [
  ProposalState.PROPOSAL_STATE_APPROVED,
  ProposalState.PROPOSAL_STATE_REJECTED,
  ProposalState.PROPOSAL_STATE_EXPIRED,
  ProposalState.PROPOSAL_STATE_WITHDRAWN,
] as readonly ProposalState[];

const kind = fc.constantFrom('approve', 'reject', 'withdraw approve', 'withdraw reject' as const);
const deed = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('propose' as const), org: fc.nat(), named: fc.nat(), threshold: fc.nat() }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant('vote' as const), org: fc.nat(), which: fc.nat(), kind, person: fc.nat() }),
  },
  {
    weight: 16,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), which: fc.nat(), count: fc.nat({ max: 6 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('withdraw' as const), which: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('restart' as const), org: fc.nat(), stored: fc.nat({ max: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('crash' as const),
      org: fc.nat(),
      which: fc.nat(),
      kind,
      stored: fc.nat({ max: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('revoke' as const),
      org: fc.nat(),
      person: fc.nat(),
      compromised: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('suspend' as const), org: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('time' as const), hours: fc.integer({ min: 0, max: 20 }) }) },
);
type Deed = typeof deed extends fc.Arbitrary<infer T> ? T : never;

/** What a member may answer to its own people: everything else is a defect. */
const EXPECTED = new Set(['VOTE_FINAL', 'PROPOSAL_CLOSED', 'PROPOSAL_UNKNOWN', 'APPROVER_UNKNOWN', 'ORG_INACTIVE']);

async function attempt(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof FedgateError && EXPECTED.has(error.reason))) throw error;
  }
}

class Model {
  readonly world: World;
  readonly proposals: ProposalFacts[] = [];
  /** States that were seen once at a side: they must stay. */
  readonly #ended = new Map<string, ProposalState>();

  private constructor(world: World) {
    this.world = world;
  }

  static async open(orgs: number): Promise<Model> {
    return new Model(await World.open(Object.fromEntries(ORGS.slice(0, orgs).map(org => [org, 2]))));
  }

  get sides(): Side[] {
    return [...this.world.sides.values()];
  }

  #side(number: number): Side {
    return this.sides[number % this.sides.length] as Side;
  }

  #proposal(number: number): ProposalFacts | undefined {
    return this.proposals[number % Math.max(1, this.proposals.length)];
  }

  async carryOut(one: Deed): Promise<void> {
    const { world } = this;
    switch (one.do) {
      case 'propose':
        return this.#propose(one);
      case 'vote': {
        const side = this.#side(one.org);
        const proposal = this.#proposal(one.which);
        if (!proposal) return;
        const by = side.people[one.person % side.people.length];
        return attempt(side.vote(one.kind, proposal, by));
      }
      case 'deliver': {
        for (let i = 0; i <= one.count; i++) {
          const letters = await world.underWay();
          const letter = letters[(one.which + i) % Math.max(1, letters.length)];
          if (letter) await world.deliver(letter);
        }
        return;
      }
      case 'withdraw': {
        const proposal = this.#proposal(one.which);
        if (!proposal) return;
        return attempt(world.side(proposal.proposer).book.withdraw(Buffer.from(proposal.id, 'hex'), 'so it is'));
      }
      case 'restart':
        return this.#side(one.org).restart(one.stored);
      case 'crash':
        return this.#crash(one);
      case 'revoke': {
        const side = this.#side(one.org);
        const key = side.people[one.person % side.people.length]?.key.id ?? '';
        const revocation = { timeMs: world.clock.nowMs, compromised: one.compromised };
        world.directory.changeApprover(side.org, key, { revocation });
        return;
      }
      case 'suspend': {
        const { org } = this.#side(one.org);
        world.directory.change(org, { active: !(world.directory.of(org)?.active ?? false) });
        return;
      }
      default:
        return world.advance(one.hours * 3_600_000);
    }
  }

  async #propose(one: Extract<Deed, { do: 'propose' }>): Promise<void> {
    const side = this.#side(one.org);
    const all = this.sides.map(({ org }) => org);
    const orgs = all.filter((_, place) => ((one.named >> place) & 1) === 0);
    const named = orgs.length > 0 ? orgs : all;
    const threshold = 1 + (one.threshold % named.length);
    const notAfterMs = this.world.clock.nowMs + DAY_MS;
    await attempt(
      side.propose({ orgs: named, threshold, notAfterMs }).then(proposal => void this.proposals.push(proposal)),
    );
  }

  /** A vote under way while the process dies: it is there or not, and never half. */
  async #crash(one: Extract<Deed, { do: 'crash' }>): Promise<void> {
    const side = this.#side(one.org);
    const proposal = this.#proposal(one.which);
    if (!proposal) return;
    side.store.manual = true;
    side.vote(one.kind, proposal).catch(() => undefined);
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve));
    await side.restart(one.stored);
  }

  /** What has ended stays as it ended, and nobody counts more organisations than there are. */
  async check(): Promise<void> {
    for (const side of this.sides) {
      for (const { id } of this.proposals) {
        const held = await side.get({ id }).catch(error => {
          if (error instanceof FedgateError && error.reason === 'PROPOSAL_UNKNOWN') return undefined;
          throw error;
        });
        if (held) this.#checkHeld(`${side.org} ${id}`, held);
      }
    }
  }

  #checkHeld(name: string, held: Proposal): void {
    const before = this.#ended.get(name);
    if (before !== undefined && before !== held.state) throw new Error(`${name} was ${before} and is ${held.state}`);
    if (FINAL.includes(held.state)) this.#ended.set(name, held.state);
    for (const { org, votes, required } of held.standings) {
      const counting = votes.filter(({ counts, kind }) => counts && kind === 1);
      if (counting.length > required) throw new Error(`${name}: ${org} counts ${counting.length} times`);
      const once = votes.map(({ kind, keyId, envelope }) => {
        return `${kind} ${Buffer.from(keyId).toString('hex')} ${Buffer.from(envelope?.payload ?? []).toString('hex')}`;
      });
      if (new Set(once).size < once.length) throw new Error(`${name}: a vote of ${org} is there twice`);
    }
  }

  /** Everything arrives. */
  async finish(): Promise<void> {
    for (const { store } of this.sides) store.manual = false;
    await this.world.settle();
  }
}

/** The votes of a proposal, without what each gateway sees for itself: when they came and who has a receipt. */
const votesOf = ({ standings }: Proposal): string =>
  JSON.stringify(
    standings.map(({ org, votes }) => [
      org,
      votes.map(({ kind, keyId, reason }) => [kind, Buffer.from(keyId).toString('hex'), reason]),
    ]),
  );

async function agree(model: Model): Promise<void> {
  for (const proposal of model.proposals) {
    const concerned = model.sides.filter(
      ({ org }) => org === proposal.proposer || proposal.approvers.some(approver => approver.org === org),
    );
    const held = await Promise.all(concerned.map(side => side.get(proposal)));
    if (new Set(held.map(votesOf)).size > 1) throw new Error(`not all hold the same votes of ${proposal.id}`);
    if (new Set(held.map(({ statement }) => Buffer.from(statement).toString('hex'))).size > 1) {
      throw new Error(`not all hold the same statement of ${proposal.id}`);
    }
    for (const { standings } of held) {
      if (!standings.every(({ votes, org }) => votes.every(vote => vote.receipts.every(by => by !== org)))) {
        throw new Error('somebody gave itself a receipt');
      }
    }
  }
}

async function checkLogs(model: Model): Promise<void> {
  for (const side of model.sides) {
    const seen = new Set<string>();
    for (const { entry } of parseLog(await side.exportLog()).entries) {
      const { what, proposalId } = LogEntry.decode(entry);
      if (what?.$case !== 'offered' && what?.$case !== 'voted' && what?.$case !== 'state') continue;
      const content = what.$case === 'state' ? '' : Buffer.from(what.value).toString('hex');
      const name = `${what.$case} ${Buffer.from(proposalId).toString('hex')} ${content}`;
      if (seen.has(name)) throw new Error(`${side.org} has written down twice: ${what.$case}`);
      seen.add(name);
    }
  }
  for (const a of model.sides) {
    for (const b of model.sides) {
      if (a === b) continue;
      const wrong = (await compared(a, b)).filter(({ contradictions }) => contradictions.length > 0);
      if (wrong.length > 0) throw new Error(`honest logs contradict each other: ${JSON.stringify(wrong)}`);
    }
  }
}

const AMOUNT = { numRuns: 25, seed: 20260105, endOnFailure: false };

test('approvals model: whatever happens, every book holds the same in the end, counts nobody twice, and its log holds', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 3, max: 5 }),
      fc.array(deed, { minLength: 10, maxLength: 60 }),
      async (orgs, deeds) => {
        const model = await Model.open(orgs);
        await model.carryOut({ do: 'propose', org: 0, named: 0, threshold: 1 });
        for (const one of deeds) {
          await model.carryOut(one);
          await model.check();
        }
        await model.finish();
        await model.check();
        await agree(model);
        await checkLogs(model);
        for (const side of model.sides) {
          const odd = side.events.filter(({ kind }) => kind === 'alarm' || kind === 'row-damaged' || kind === 'failed');
          if (odd.length > 0) throw new Error(`${side.org}: ${JSON.stringify(odd)}`);
        }
      },
    ),
    AMOUNT,
  );
  t.pass();
});

test('approvals model: without withdrawals, revocations or time that runs out, every book finds the same', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ org: fc.nat(), yes: fc.boolean(), which: fc.nat(), picks: fc.array(fc.nat()) }), {
        minLength: 3,
        maxLength: 15,
      }),
      async votes => {
        const model = await Model.open(4);
        for (let i = 0; i < 3; i++) await model.carryOut({ do: 'propose', org: i, named: 1 << i, threshold: i });
        await model.finish();
        const first = new Map<string, boolean>();
        for (const { org, yes, which, picks } of votes) {
          const name = `${org % 4} ${which % 3}`;
          if (!first.has(name)) first.set(name, yes);
          const choice = first.get(name) ? 'approve' : 'reject';
          await model.carryOut({ do: 'vote', org, which, kind: choice, person: 0 });
          for (const pick of picks) await model.carryOut({ do: 'deliver', which: pick, count: 0 });
        }
        await model.finish();
        await agree(model);
        for (const proposal of model.proposals) {
          const concerned = model.sides.filter(
            ({ org }) => org === proposal.proposer || proposal.approvers.some(one => one.org === orgName(org)),
          );
          const states = new Set(await Promise.all(concerned.map(side => side.state(proposal))));
          if (states.size > 1) throw new Error(`states ${[...states]}`);
        }
        await checkLogs(model);
      },
    ),
    { ...AMOUNT, numRuns: 10 },
  );
  t.pass();
});
