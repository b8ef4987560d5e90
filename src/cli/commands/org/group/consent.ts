import type { Command } from 'commander';
import { fieldError, quoted } from '../../../../errors.js';
import { formatGroupRef, type OrgName, parseGroupRef } from '../../../../identity/names.js';
import { consentTo, unknownGroup, withdrawFrom } from '../../../../registry/group-changes.js';
import { fetchRecords, updateGroups } from '../../../../registry/update.js';
import { type CliEnv, print, printJson, say } from '../../../env.js';
import { examples } from '../../../help.js';

interface Flags {
  readonly dir: string;
  readonly json?: boolean;
}

const withFlags = (command: Command): Command =>
  command
    .argument('<group>', 'the group, as in addresses: the organisation in lower case, a dot, and the name')
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option('--json', 'report as JSON');

export function registerConsent(group: Command, env: CliEnv): void {
  withFlags(
    group
      .command('consent')
      .description("agree that your organisation is in a group of another's record; signed by its CA"),
  )
    .addHelpText('after', examples('fedgate org group consent acme.suppliers --dir globex'))
    .action((text: string, flags: Flags) => consent(env, text, flags));
}

async function consent(env: CliEnv, text: string, { dir, json }: Flags): Promise<void> {
  const { owner, name } = parseOwned(text);
  const settings = { folder: dir, signal: env.signal };
  const [record] = await fetchRecords({ ...settings, orgs: [owner] });
  const group = record?.grouping.groups.find(each => each.name === name);
  if (!group) throw unknownGroup(owner, name);
  const { org } = await updateGroups({ ...settings, change: previous => consentTo(previous, owner, name) });
  const ref = formatGroupRef(owner, name);
  const named = group.orgs.includes(org);
  if (json) return printJson(env, { org, group: ref, consents: true, named });
  await print(env, `${org} agrees to be in the group ${ref}`);
  if (!named) say(env, `${owner} does not name ${org} in it`);
}

export function registerWithdraw(group: Command, env: CliEnv): void {
  withFlags(
    group
      .command('withdraw')
      .description('take the consent back: from then on your organisation does not count in the group'),
  )
    .addHelpText('after', examples('fedgate org group withdraw acme.suppliers --dir globex'))
    .action((text: string, flags: Flags) => withdraw(env, text, flags));
}

async function withdraw(env: CliEnv, text: string, { dir, json }: Flags): Promise<void> {
  const { owner, name } = parseOwned(text);
  const { org } = await updateGroups({
    folder: dir,
    signal: env.signal,
    change: previous => withdrawFrom(previous, owner, name),
  });
  const ref = formatGroupRef(owner, name);
  await (json
    ? printJson(env, { org, group: ref, consents: false })
    : print(env, `${org} does not agree to be in the group ${ref}`));
}

/** `acme.suppliers`, or with the `@` of addresses before it. */
function parseOwned(text: string): { owner: OrgName; name: string } {
  const { owner, name } = parseGroupRef(text.replace(/^@/, ''), 'group');
  if (owner === undefined) throw fieldError('group', `${quoted(text)} does not say whose group it is (acme.suppliers)`);
  return { owner, name };
}
