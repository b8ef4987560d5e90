import type { Command } from 'commander';
import { escapeControls } from '../../../text.js';
import { YES_OPTION } from '../../confirm.js';
import type { CliEnv } from '../../env.js';
import { examples } from '../../help.js';
import { withGatewayOptions } from '../../options.js';
import { ID_HELP } from '../../proposal-id.js';
import { withSignerOptions } from '../../signer.js';
import { type VoteCommandOptions, vote } from './vote.js';

interface RejectOptions extends VoteCommandOptions {
  readonly reason: string;
}

export function registerReject(program: Command, env: CliEnv): void {
  const command = program
    .command('reject')
    .argument('<id>', ID_HELP)
    .description('reject a proposal for the own organisation, with an approval key')
    .requiredOption('--reason <text>', 'why; everybody who is named in the proposal reads it')
    .option(...YES_OPTION)
    .option('--json', 'show the proposal as JSON');
  withGatewayOptions(withSignerOptions(command))
    .addHelpText(
      'after',
      `${examples('fedgate reject 5c1f03aa --reason "the tests do not pass" --key alice.key')}

One rejection counts for the whole organisation until it is withdrawn: \`fedgate proposals unvote\`.`,
    )
    .action((id: string, options: RejectOptions) => reject(env, id, options));
}

function reject(env: CliEnv, digits: string, options: RejectOptions): Promise<void> {
  return vote(env, digits, options, {
    question: 'reject this',
    signed: `that it is rejected: ${escapeControls(options.reason)}`,
    cast: (client, id, signer, statementSha256) =>
      client.approvals.reject(id, options.reason, signer, { statementSha256 }),
  });
}
