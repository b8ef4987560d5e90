import type { Command } from 'commander';
import { checkedStatement } from '../../../client/approvals/ballot.js';
import { fieldError } from '../../../errors.js';
import { type CliEnv, print, printJson, write } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { findProposalId, ID_HELP } from '../../proposal-id.js';
import { describeProposal, proposalJson } from './text.js';

interface ShowOptions extends GatewayOptions {
  readonly statement?: boolean;
  readonly json?: boolean;
}

export function registerShow(proposals: Command, env: CliEnv): void {
  const command = proposals
    .command('show')
    .argument('<id>', ID_HELP)
    .description('show a proposal, who has voted on it, and who has not')
    .option('--statement', 'write the bytes that are signed, and nothing else')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples('fedgate proposals show 5c1f03aa', 'fedgate proposals show 5c1f03aa --statement | sha256sum'),
    )
    .action((id: string, options: ShowOptions) => show(env, id, options));
}

async function show(env: CliEnv, digits: string, options: ShowOptions): Promise<void> {
  if (options.statement && options.json) throw fieldError('--statement', 'not with --json, which has it too');
  const proposal = await withClient(env, options, async client =>
    client.approvals.get(await findProposalId(client, digits)),
  );
  const { bytes } = checkedStatement(proposal);
  if (options.statement) return write(env.stdout, bytes);
  if (options.json) return printJson(env, proposalJson(proposal));
  await print(env, describeProposal(proposal, Date.now()));
}
