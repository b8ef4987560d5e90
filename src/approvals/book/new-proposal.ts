import { randomBytes } from 'node:crypto';
import { FedgateError, fieldError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { MAX_KEYS_PER_ORG, MAX_ORGS, MAX_WINDOW_MS } from '../statement/rules.js';
import { encodeStatement } from '../statement/statement.js';
import type { Approver, ApproverDirectory, ApproverOrg, ProposalDraft, ProposalFacts } from '../types.js';
import { type Desk, findProposal } from './desk.js';
import { addProposal } from './offers.js';
import { concerned } from './sending.js';
import { nextSequence } from './sequences.js';
import { putFiles } from './settle.js';
import type { Step } from './step.js';
import type { StoredProposal } from './stored-proposal.js';

/** How long votes count unless it is said otherwise. */
export const DEFAULT_WINDOW_MS = 14 * 86_400_000;
/** Files of one package. */
export const MAX_PACKAGE_FILES = 100_000;

/** Makes a proposal of the own organisation and sends it to everybody it names. Resolves with its id. Rejects as `propose` does. */
export async function propose(desk: Desk, step: Step, draft: ProposalDraft): Promise<Buffer> {
  if (draft.id && draft.id.length !== 16) throw fieldError('proposal_id', 'is not 16 bytes');
  const held = draft.id && (await findProposal(desk, draft.id));
  if (held) return repeated(desk, held, draft);
  desk.index.checkRoom(desk.options.org);
  if (draft.files.length > MAX_PACKAGE_FILES) throw fieldError('files', `more than ${MAX_PACKAGE_FILES}`);
  const id = draft.id ?? randomBytes(16);
  const facts = await factsOf(desk, step, id, draft);
  const statement = encode(facts);
  const { artifactShare, contentsShare } = draft;
  await addProposal(desk, step, { id, facts, statement, artifactShare, contentsShare, receiveMs: step.nowMs });
  putFiles(step, id, draft.files);
  for (const org of concerned(desk, { facts })) {
    step.send(org, { $case: 'offer', value: { statement, artifactShare, contentsShare } });
  }
  return id;
}

/** The same call once more. Throws FIELD_INVALID for another one. */
function repeated({ options }: Desk, { id, facts }: StoredProposal, draft: ProposalDraft): Buffer {
  const same =
    facts.proposer === options.org &&
    facts.artifact.sha256 === draft.artifact.sha256 &&
    facts.project === draft.project &&
    facts.version === draft.version &&
    facts.threshold === draft.threshold &&
    facts.approvers.map(({ org }) => org).join() === [...draft.orgs].sort().join();
  if (same) return id;
  throw fieldError('proposal_id', 'is the id of another proposal');
}

async function factsOf(desk: Desk, { nowMs }: Step, id: Buffer, draft: ProposalDraft): Promise<ProposalFacts> {
  const { federation, org, directory } = desk.options;
  const { threshold, project } = draft;
  checkOrgs(draft.orgs);
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > draft.orgs.length) {
    throw fieldError('threshold', `is not a whole number from 1 to the ${draft.orgs.length} organisations`);
  }
  const approvers = [...draft.orgs].sort().map(name => approverOrg(directory, name, federation, nowMs));
  return {
    id: id.toString('hex'),
    federation,
    project,
    version: draft.version,
    sequence: await nextSequence(desk, { proposer: org, project }),
    artifact: draft.artifact,
    proposer: org,
    approvers,
    threshold,
    createdMs: nowMs,
    ...times(draft, nowMs),
    note: draft.note,
    links: draft.links,
  };
}

function checkOrgs(orgs: readonly OrgName[]): void {
  if (orgs.length < 1 || orgs.length > MAX_ORGS) throw fieldError('orgs', `are not 1 to ${MAX_ORGS}`);
  if (new Set(orgs).size < orgs.length) throw fieldError('orgs', 'names an organisation twice');
}

function times(draft: ProposalDraft, nowMs: number): Pick<ProposalFacts, 'notBeforeMs' | 'notAfterMs'> {
  const notBeforeMs = draft.notBeforeMs || nowMs;
  const notAfterMs = draft.notAfterMs || notBeforeMs + DEFAULT_WINDOW_MS;
  if (notBeforeMs > nowMs + MAX_WINDOW_MS) throw fieldError('not_before_ms', 'is more than 366 days from now');
  if (notAfterMs <= Math.max(nowMs, notBeforeMs)) throw fieldError('not_after_ms', 'is over, or before it begins');
  if (notAfterMs - notBeforeMs > MAX_WINDOW_MS)
    throw fieldError('not_after_ms', 'is more than 366 days after it begins');
  return { notBeforeMs, notAfterMs };
}

/** An organisation with the keys that are good now, the newest of them. Throws ORG_UNKNOWN, ORG_INACTIVE, APPROVER_UNKNOWN. */
function approverOrg(directory: ApproverDirectory, org: OrgName, federation: string, nowMs: number): ApproverOrg {
  const member = directory.of(org);
  if (!member) throw new FedgateError('ORG_UNKNOWN', `${org} is no member, or has no approvers`);
  if (!member.active) throw new FedgateError('ORG_INACTIVE', `${org} is not an active member`);
  const isGood = ({ revocation }: Approver): boolean => revocation === undefined || revocation.timeMs > nowMs;
  const newest = member.approvers
    .filter(isGood)
    .toSorted((a, b) => b.addMs - a.addMs)
    .slice(0, MAX_KEYS_PER_ORG);
  const { required } = member;
  const names = new Set(newest.map(({ name }) => name)).size;
  if (names < Math.max(1, required)) {
    const text = `${org} demands ${required} approvers and has ${names} with a good key`;
    throw new FedgateError('APPROVER_UNKNOWN', text, { metadata: { org } });
  }
  const keyIds = newest.map(({ key }) => key.id).sort();
  return { org, trustDomain: `${org.toLowerCase()}.${federation}`, required: Math.max(1, required), keyIds };
}

/** What breaks the rules of statements is a field of the request here. */
function encode(facts: ProposalFacts): Buffer {
  try {
    return encodeStatement({ kind: 'approval', proposal: facts });
  } catch (error) {
    if (error instanceof FedgateError && error.reason === 'STATEMENT_INVALID')
      throw fieldError('proposal', error.message);
    throw error;
  }
}
