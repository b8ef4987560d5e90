import { type CheckedStatement, checkedStatement, orgOfKey } from '../../../client/approvals/ballot.js';
import type { FedgateClient, Proposal, Signer, VoteResult } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { confirm } from '../../confirm.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { type GatewayOptions, withClient } from '../../options.js';
import { findProposalId } from '../../proposal-id.js';
import { ReviewNotes } from '../../review-notes.js';
import { openSigner, type SignerOptions } from '../../signer.js';
import { proposalJson, stateText } from '../proposals/text.js';
import { describeToSign } from './shown.js';

export interface VoteCommandOptions extends GatewayOptions, SignerOptions {
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** One way to vote. */
export interface Ballot {
  /** `approve`: what is asked. */
  readonly question: string;
  /** What is signed about the statement. Undefined: the statement itself. */
  readonly signed?: string;
  /** Before anything is asked: what speaks against it. */
  readonly check?: (checked: CheckedStatement, proposal: Proposal) => Promise<void>;
  /** Signs and sends; only the statement with this digest. */
  readonly cast: (client: FedgateClient, id: string, signer: Signer, statementSha256: string) => Promise<VoteResult>;
}

/** Shows what is to be signed, asks, signs and casts. What was shown here or in a review before is the only thing that is signed. */
export async function vote(env: CliEnv, digits: string, options: VoteCommandOptions, ballot: Ballot): Promise<void> {
  const { json = false, yes = false } = options;
  await withClient(env, options, async client => {
    const id = await findProposalId(client, digits);
    const proposal = await client.approvals.get(id);
    const checked = checkedStatement(proposal);
    await (await ReviewNotes.open(env)).check(id, checked.sha256);
    checkOpen(proposal);
    await ballot.check?.(checked, proposal);
    say(env, `${describeToSign(proposal, ballot.signed)}\n`);
    const signer = await openSigner(env, options);
    const { org } = orgOfKey(checked, signer.key.id);
    await confirm(env, yes, `${ballot.question} for ${org}, with the key ${signer.key.id.slice(0, 12)}?`);
    const result = await ballot.cast(client, id, signer, checked.sha256);
    if (json) return printJson(env, { duplicate: result.duplicate, proposal: proposalJson(result.proposal) });
    if (result.duplicate) say(env, 'this key had voted so before; what it said then stands');
    await print(env, `${id} ${stateText(result.proposal, Date.now())}`);
  });
}

/** Before a key is asked for: the gateway would not take the vote. */
function checkOpen({ id, state }: Proposal): void {
  if (state === 'open' || state === 'approved') return;
  throw new FedgateError('PROPOSAL_CLOSED', `the proposal ${id} is ${state}: nobody can vote on it any more`, {
    metadata: { state },
  });
}
