import type { OrgName } from '../../identity/names.js';
import type { Desk } from './desk.js';
import type { StoredProposal } from './stored-proposal.js';

/** The other organisations that hear of a proposal: those that it names, and the one that proposed it. */
export function concerned({ options }: Desk, { facts }: Pick<StoredProposal, 'facts'>): OrgName[] {
  const orgs = new Set([facts.proposer, ...facts.approvers.map(({ org }) => org)]);
  orgs.delete(options.org);
  return [...orgs];
}
