import type { Command } from 'commander';
import { formatGroupRef, parseGroupName, parseOrgName } from '../../../../identity/names.js';
import { removeGroup, setGroup } from '../../../../registry/group-changes.js';
import { groupMembers } from '../../../../registry/group-members.js';
import { fetchMembers, updateGroups } from '../../../../registry/update.js';
import { type CliEnv, print, printJson, say } from '../../../env.js';
import { examples } from '../../../help.js';

interface Flags {
  readonly dir: string;
  readonly json?: boolean;
}

export function registerGroupSet(group: Command, env: CliEnv): void {
  group
    .command('set')
    .argument('<name>', 'the name of the group: a-z 0-9 -')
    .argument('<org...>', 'all organisations that it is to name')
    .description("name a group of organisations in your organisation's record; signed by its CA")
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate org group set suppliers GLOBEX INITECH --dir acme')}\n\nOrganisations count as soon as they consent: fedgate org group consent acme.suppliers`,
    )
    .action((name: string, orgs: readonly string[], flags: Flags) => set(env, name, orgs, flags));
}

async function set(env: CliEnv, nameText: string, orgs: readonly string[], { dir, json }: Flags): Promise<void> {
  const name = parseGroupName(nameText, 'name');
  const named = orgs.map(org => parseOrgName(org, 'org'));
  const settings = { folder: dir, signal: env.signal };
  const profile = await updateGroups({ ...settings, change: previous => setGroup(previous, name, named) });
  const ref = formatGroupRef(profile.org, name);
  const all = await fetchMembers(settings);
  const members = groupMembers({ org: profile.org, profile }, name, org => all.get(org)) ?? [];
  if (json) return printJson(env, { group: ref, members });
  await print(env, `the group ${ref} names ${members.map(({ org }) => org).join(', ')}`);
  const missing = members.filter(({ standing }) => standing === 'no consent').map(({ org }) => org);
  if (missing.length > 0)
    say(env, `not yet agreed: ${missing.join(', ')}; each says so with: fedgate org group consent ${ref}`);
}

export function registerGroupRemove(group: Command, env: CliEnv): void {
  group
    .command('remove')
    .argument('<name>', 'the name of the group')
    .description("take a group out of your organisation's record")
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option('--json', 'report as JSON')
    .addHelpText('after', examples('fedgate org group remove suppliers --dir acme'))
    .action(async (nameText: string, { dir, json }: Flags) => {
      const name = parseGroupName(nameText, 'name');
      const { org } = await updateGroups({
        folder: dir,
        signal: env.signal,
        change: previous => removeGroup(previous, name),
      });
      const ref = formatGroupRef(org, name);
      await (json ? printJson(env, { group: ref, removed: true }) : print(env, `the group ${ref} is gone`));
    });
}
