import type { Command } from 'commander';
import { YES_OPTION } from '../../confirm.js';
import { type CliEnv, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { withGatewayOptions } from '../../options.js';
import { ID_HELP } from '../../proposal-id.js';
import { withSignerOptions } from '../../signer.js';
import { ReviewFolder } from '../review/folder.js';
import { type VoteCommandOptions, vote } from './vote.js';

interface ApproveOptions extends VoteCommandOptions {
  readonly reviewed?: string;
}

export function registerApprove(program: Command, env: CliEnv): void {
  const command = program
    .command('approve')
    .argument('<id>', ID_HELP)
    .description('approve a proposal for the own organisation, with an approval key')
    .option(
      '--reviewed <folder>',
      'the folder of `fedgate review`: all of it is verified again before anything is signed',
    )
    .option(...YES_OPTION)
    .option('--json', 'show the proposal as JSON');
  withGatewayOptions(withSignerOptions(command))
    .addHelpText(
      'after',
      `${examples(
        'fedgate review 5c1f03aa && fedgate approve 5c1f03aa --reviewed review-5c1f03aa7e02 --key alice.key',
        'fedgate approve 5c1f03aa --signer-command "sign-with-kms --key code" --public-key kms.pub --yes',
      )}\n\n${HELP}`,
    )
    .action((id: string, options: ApproveOptions) => approve(env, id, options));
}

const HELP = `What is signed is shown first, and is the statement that \`fedgate review\` showed, if it did: another one under the same id is refused.
An approval cannot be repeated: once withdrawn, the same key may only reject. Exits with ${EXIT.damaged} when the reviewed files are not those of the proposal.`;

function approve(env: CliEnv, digits: string, options: ApproveOptions): Promise<void> {
  return vote(env, digits, options, {
    question: 'approve this',
    async check(checked) {
      const { reviewed } = options;
      if (reviewed === undefined) return;
      await new ReviewFolder(reviewed, checked).verify();
      say(env, `${reviewed}: every file is what would be approved`);
    },
    cast: (client, id, signer, statementSha256) => client.approvals.approve(id, signer, { statementSha256 }),
  });
}
