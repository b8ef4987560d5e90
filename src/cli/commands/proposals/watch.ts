import type { Command } from 'commander';
import { fieldError } from '../../../errors.js';
import { parseOrgName } from '../../../identity/names.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { findProposalId, ID_HELP } from '../../proposal-id.js';
import { changeLine, proposalJson } from './text.js';

interface WatchOptions extends GatewayOptions {
  readonly proposer?: string;
  readonly project?: string;
  readonly json?: boolean;
}

export function registerWatch(proposals: Command, env: CliEnv): void {
  const command = proposals
    .command('watch')
    .argument('[id]', `${ID_HELP}; none: all that are open`)
    .description('follow proposals: a line for each now, and again when something about it changes')
    .option('--proposer <org>', 'only those of an organisation')
    .option('--project <name>', 'only those of a project')
    .option('--json', 'each as a line of JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate proposals watch', 'fedgate proposals watch 5c1f03aa')}\n\nOne proposal is followed until it is approved, rejected, expired or withdrawn; all, until Ctrl-C.`,
    )
    .action((id: string | undefined, options: WatchOptions) => watch(env, id, options));
}

async function watch(env: CliEnv, digits: string | undefined, options: WatchOptions): Promise<void> {
  const { proposer, project, json } = options;
  if (digits !== undefined && (proposer !== undefined || project !== undefined))
    throw fieldError(proposer === undefined ? '--project' : '--proposer', 'not with an id');
  const org = proposer === undefined ? undefined : parseOrgName(proposer, '--proposer');
  await withClient(env, options, async client => {
    const id = digits === undefined ? undefined : await findProposalId(client, digits);
    for await (const proposal of client.approvals.watch({ id, proposer: org, project, signal: env.signal })) {
      await (json ? printJson(env, proposalJson(proposal)) : print(env, changeLine(proposal, Date.now())));
      if (id !== undefined && proposal.state !== 'open') return;
    }
    // It ends by itself only when it is decided.
    if (id !== undefined) env.exitCode = EXIT.interrupted;
  });
}
