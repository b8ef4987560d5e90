import type { Command } from 'commander';
import { formatGroupRef } from '../../../../identity/names.js';
import { readMembership } from '../../../../identity/org-folder.js';
import { groupMembers } from '../../../../registry/group-members.js';
import { fetchMembers } from '../../../../registry/update.js';
import { type CliEnv, print, printJson, table } from '../../../env.js';
import { examples } from '../../../help.js';

interface Flags {
  readonly dir: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

export function registerGroupList(group: Command, env: CliEnv): void {
  group
    .command('list')
    .description('show the groups that your organisation names or is named in, and who counts in them')
    .option('--dir <folder>', "the organisation's folder", '.')
    .option('--all', 'every group of the federation')
    .option('--json', 'one JSON object per group')
    .addHelpText(
      'after',
      examples('fedgate org group list --dir globex', 'fedgate org group list --dir globex --all --json'),
    )
    .action((flags: Flags) => list(env, flags));
}

async function list(env: CliEnv, { dir, all = false, json }: Flags): Promise<void> {
  const { org: own } = await readMembership(dir);
  const members = await fetchMembers({ folder: dir, signal: env.signal });
  const groups = [...members.values()]
    .filter(({ state }) => state === 'active')
    .flatMap(owner =>
      owner.profile.grouping.groups.map(({ name }) => ({
        group: formatGroupRef(owner.org, name),
        owner: owner.org,
        members: groupMembers(owner, name, org => members.get(org)) ?? [],
      })),
    )
    .filter(({ owner, members: named }) => all || owner === own || named.some(({ org }) => org === own));
  if (json) {
    for (const group of groups) await printJson(env, group);
    return;
  }
  if (groups.length === 0) return print(env, all ? 'no groups' : `no group names ${own}, and ${own} names none`);
  const rows = groups.flatMap(({ group, members: named }) => named.map(({ org, standing }) => [group, org, standing]));
  await print(env, table([['GROUP', 'ORG', 'STANDING'], ...rows]));
}
