import type { FedgateClient, Proposal } from '../client/index.js';
import { FedgateError, fieldError, quoted } from '../errors.js';

/** The fewest digits that stand for an id. */
const LEAST_DIGITS = 8;

export const ID_HELP = `the id of a proposal, or its first digits (${LEAST_DIGITS} at least)`;

/**
 * The whole id that digits stand for, among the proposals that the gateway holds. Throws FIELD_INVALID when they are none, or stand for several;
 * PROPOSAL_UNKNOWN.
 */
export async function findProposalId(client: FedgateClient, digits: string): Promise<string> {
  if (!new RegExp(`^[0-9a-f]{${LEAST_DIGITS},32}$`).test(digits))
    throw fieldError('id', `${quoted(digits)} is not the id of a proposal: ${LEAST_DIGITS} to 32 digits of 0-9 a-f`);
  if (digits.length === 32) return digits;
  const found: Proposal[] = [];
  for await (const proposal of client.approvals.list()) if (proposal.id.startsWith(digits)) found.push(proposal);
  const [first, second] = found;
  if (!first)
    throw new FedgateError(
      'PROPOSAL_UNKNOWN',
      `this gateway holds no proposal whose id begins with ${digits}; \`fedgate proposals list\` shows those it holds`,
    );
  if (second)
    throw fieldError(
      'id',
      `${digits} stands for ${found.length} proposals: ${first.id}, ${second.id}; give more digits`,
    );
  return first.id;
}
