import type { Command } from 'commander';
import { requireApprovals } from '../../../registry/approver-changes.js';
import { updateApprovers } from '../../../registry/update.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { parseCount } from '../../options.js';
import { requirement } from './options.js';

interface RequireOptions {
  readonly dir: string;
  readonly json?: boolean;
}

export function registerRequire(approver: Command, env: CliEnv): void {
  approver
    .command('require')
    .argument('<m>', 'how many: 1 to the number of approvers with a good key')
    .description('set how many different approvers of your organisation must approve before it has')
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate approver require 2 --dir acme')}\n\nHolds for proposals that are made from now on. Several keys of one approver count once.`,
    )
    .action((m: string, options: RequireOptions) => require(env, m, options));
}

async function require(env: CliEnv, m: string, { dir, json }: RequireOptions): Promise<void> {
  const required = parseCount(m, 'm', 1);
  const change = updateApprovers({
    folder: dir,
    signal: env.signal,
    change: previous => requireApprovals(previous, required),
  });
  const profile = await change;
  if (json) return printJson(env, { org: profile.org, required: profile.approvalsRequired });
  await print(env, `${profile.org} has approved when ${requirement(profile)} have`);
}
