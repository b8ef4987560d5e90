import type { Command } from 'commander';
import { escapeControls } from '../../../text.js';
import { YES_OPTION } from '../../confirm.js';
import type { CliEnv } from '../../env.js';
import { examples } from '../../help.js';
import { withGatewayOptions } from '../../options.js';
import { ID_HELP } from '../../proposal-id.js';
import { withSignerOptions } from '../../signer.js';
import { type VoteCommandOptions, vote } from '../vote/vote.js';

interface UnvoteOptions extends VoteCommandOptions {
  readonly reason: string;
}

export function registerUnvote(proposals: Command, env: CliEnv): void {
  const command = proposals
    .command('unvote')
    .argument('<id>', ID_HELP)
    .description('withdraw the vote that was cast with an approval key, while the proposal is open')
    .requiredOption('--reason <text>', 'why; everybody who is named in the proposal reads it')
    .option(...YES_OPTION)
    .option('--json', 'show the proposal as JSON');
  withGatewayOptions(withSignerOptions(command))
    .addHelpText(
      'after',
      `${examples('fedgate proposals unvote 5c1f03aa --reason "a test was missing" --key alice.key')}

The key may then cast the other vote, and not the same one again.`,
    )
    .action((id: string, options: UnvoteOptions) => unvote(env, id, options));
}

function unvote(env: CliEnv, digits: string, options: UnvoteOptions): Promise<void> {
  return vote(env, digits, options, {
    question: 'withdraw the vote',
    signed: `that the vote is withdrawn: ${escapeControls(options.reason)}`,
    cast: (client, id, signer, statementSha256) =>
      client.approvals.withdrawVote(id, options.reason, signer, { statementSha256 }),
  });
}
