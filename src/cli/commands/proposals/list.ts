import type { Command } from 'commander';
import type { Proposal, ProposalState } from '../../../client/index.js';
import { fieldError, quoted } from '../../../errors.js';
import { parseOrgName } from '../../../identity/names.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { proposalJson, proposalsTable } from './text.js';

interface ListOptions extends GatewayOptions {
  readonly state?: string;
  readonly proposer?: string;
  readonly project?: string;
  readonly json?: boolean;
}

const STATES = ['open', 'approved', 'rejected', 'expired', 'withdrawn'] as const satisfies readonly ProposalState[];

export function registerList(proposals: Command, env: CliEnv): void {
  const command = proposals
    .command('list')
    .description('list proposals that the own gateway holds, newest first')
    .option('--state <state>', `only those in this state: ${STATES.join(', ')}`)
    .option('--proposer <org>', 'only those of an organisation')
    .option('--project <name>', 'only those of a project')
    .option('--json', 'list as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples(
        'fedgate proposals list --state open',
        "fedgate proposals list --project widget --json | jq -r '.[].id'",
      ),
    )
    .action((options: ListOptions) => list(env, options));
}

async function list(env: CliEnv, options: ListOptions): Promise<void> {
  const { state, proposer, project } = options;
  const filter = {
    state: state === undefined ? undefined : parseState(state),
    proposer: proposer === undefined ? undefined : parseOrgName(proposer, '--proposer'),
    project,
  };
  const found: Proposal[] = [];
  await withClient(env, options, async client => {
    for await (const proposal of client.approvals.list(filter)) found.push(proposal);
  });
  if (options.json) return printJson(env, found.map(proposalJson));
  if (found.length === 0) return say(env, 'there are no such proposals; `fedgate propose FILE` makes one');
  await print(env, proposalsTable(found, Date.now()));
}

function parseState(text: string): (typeof STATES)[number] {
  const state = STATES.find(each => each === text);
  if (!state) throw fieldError('--state', `${quoted(text)} is none of ${STATES.join(', ')}`);
  return state;
}
