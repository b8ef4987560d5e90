import type { Command } from 'commander';
import { confirm, YES_OPTION } from '../../confirm.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { findProposalId, ID_HELP } from '../../proposal-id.js';
import { proposalJson, stateText } from './text.js';

interface WithdrawOptions extends GatewayOptions {
  readonly reason: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function registerWithdraw(proposals: Command, env: CliEnv): void {
  const command = proposals
    .command('withdraw')
    .argument('<id>', ID_HELP)
    .description(
      'withdraw a proposal of the own organisation while it is open: for ever, and all who are named are told',
    )
    .requiredOption('--reason <text>', 'why; everybody who is named in the proposal reads it')
    .option(...YES_OPTION)
    .option('--json', 'show the proposal as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate proposals withdraw 5c1f03aa --reason "wrong build"'))
    .action((id: string, options: WithdrawOptions) => withdraw(env, id, options));
}

async function withdraw(env: CliEnv, digits: string, options: WithdrawOptions): Promise<void> {
  const proposal = await withClient(env, options, async client => {
    const id = await findProposalId(client, digits);
    const { project, version } = await client.approvals.get(id);
    await confirm(env, options.yes === true, `withdraw the proposal of ${project} ${version} for ever?`);
    return client.approvals.withdraw(id, options.reason);
  });
  if (options.json) return printJson(env, proposalJson(proposal));
  await print(env, `${proposal.id} ${stateText(proposal, Date.now())}`);
}
