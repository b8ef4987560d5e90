import { FedgateError } from '../../errors.js';
import { prefixed } from '../../store/keys.js';
import { judge } from '../quorum/judge.js';
import type { CountedApproval } from '../types.js';
import { type Desk, needProposal, readVotes } from './desk.js';
import type { StoredProposal } from './stored-proposal.js';
import type { StoredVote } from './stored-vote.js';
import { TABLE } from './tables.js';

type Of = { readonly id: Buffer } | { readonly artifactSha256: Buffer };

/** What has been counted of an approved proposal. Rejects as `approval` does; with STORE_DAMAGED when votes that were counted are. */
export async function countedApproval(desk: Desk, of: Of): Promise<CountedApproval> {
  const id = 'id' in of ? of.id : await newestFor(desk, of.artifactSha256);
  const stored = await needProposal(desk, id);
  const { votes } = await readVotes(desk, stored);
  if (stored.end?.state !== 'approved') throw notApproved(desk, stored, votes);
  const keys = countedKeys(desk, stored, votes, stored.end.counted);
  const signatures = stored.facts.approvers.flatMap(({ org }) =>
    (keys.get(org) ?? []).map(keyId => ({ org, ...signed(desk, stored, votes, org, keyId) })),
  );
  return { proposal: stored.facts, statement: stored.statement, signatures };
}

/** The newest approved proposal for an artifact. */
async function newestFor({ store }: Desk, sha256: Buffer): Promise<Buffer> {
  const name = sha256.toString('hex');
  if (sha256.length === 32) {
    const rows = await store.scan(TABLE.artifact, { ...prefixed(sha256), limit: 16, reverse: true });
    for (const row of rows) if (!row.damaged) return row.value;
  }
  throw new FedgateError('NOT_APPROVED', `no approved proposal for ${name} is known`, { metadata: { sha256: name } });
}

/** Those that were counted when it was approved, and of each organisation that approved later the ones that count now. */
function countedKeys(
  desk: Desk,
  { facts, end }: StoredProposal,
  votes: readonly StoredVote[],
  counted: readonly string[],
): Map<string, readonly string[]> {
  const { orgs } = judge(facts, votes, desk.options.directory, desk.clock.now(), end);
  return new Map(
    facts.approvers.map(({ org, keyIds }, place) => {
      const then = keyIds.filter(id => counted.includes(id));
      return [org, then.length > 0 ? then : (orgs[place]?.countedKeys ?? [])];
    }),
  );
}

function signed(desk: Desk, { facts }: StoredProposal, votes: readonly StoredVote[], org: string, keyId: string) {
  const approver = desk.options.directory.of(org)?.approvers.find(({ key }) => key.id === keyId);
  const vote = votes.find(vote => vote.kind === 'approve' && vote.keyId === keyId);
  const signature = vote?.envelope.signatures[0]?.signature;
  if (approver && signature) return { key: approver.key, signature };
  const what = approver
    ? 'a vote that was counted cannot be read'
    : `the record of ${org} does not name the key ${keyId}`;
  throw new FedgateError(approver ? 'STORE_DAMAGED' : 'NOT_APPROVED', `proposal ${facts.id}: ${what}`);
}

/** Says who counted, who did not, and why. */
function notApproved(desk: Desk, { facts, end }: StoredProposal, votes: readonly StoredVote[]): FedgateError {
  const found = judge(facts, votes, desk.options.directory, desk.clock.now(), end);
  const said = found.orgs.map(({ org, decision }) => {
    const why = votes.flatMap((vote, place) => {
      const whyNot = found.votes[place]?.whyNot ?? '';
      return vote.org === org && whyNot !== '' ? [whyNot] : [];
    });
    const word = { none: 'not yet', approve: 'approved', reject: 'rejected' }[decision];
    return `${org} ${word}${why.length > 0 ? ` (${why.slice(0, 4).join('; ')})` : ''}`;
  });
  const state = end?.state ?? 'open';
  return new FedgateError(
    'NOT_APPROVED',
    `proposal ${facts.id} is ${state}: ${found.approved} of ${facts.threshold} organisations count. ${said.join(', ')}`,
    { metadata: { proposal: facts.id, state } },
  );
}
