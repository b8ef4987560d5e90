import type { Command } from 'commander';
import type { Approver } from '../../../identity/approver.js';
import { parseOrgName } from '../../../identity/names.js';
import { readMembership } from '../../../identity/org-folder.js';
import type { OrgProfile } from '../../../registry/record.js';
import { fetchRecords } from '../../../registry/update.js';
import { type CliEnv, print, printJson, say, table } from '../../env.js';
import { examples } from '../../help.js';
import { isoTime } from '../../times.js';
import { stateOf } from './text.js';

interface ListOptions {
  readonly dir: string;
  readonly json?: boolean;
}

export function registerList(keys: Command, env: CliEnv): void {
  keys
    .command('list')
    .argument('[orgs...]', 'the organisations; otherwise your own')
    .description('list approval keys as the registry has them, revoked ones included')
    .option('--dir <folder>', "your organisation's folder", '.')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      examples('fedgate keys list --dir acme', 'fedgate keys list GLOBEX INITECH --dir acme --json'),
    )
    .action((orgs: readonly string[], options: ListOptions) => list(env, orgs, options));
}

async function list(env: CliEnv, names: readonly string[], { dir, json }: ListOptions): Promise<void> {
  const orgs = names.length > 0 ? names.map(name => parseOrgName(name, 'org')) : [(await readMembership(dir)).org];
  const profiles = await fetchRecords({ folder: dir, orgs: [...new Set(orgs)], signal: env.signal });
  if (json) return printJson(env, profiles.map(orgJson));
  const rows = profiles.flatMap(({ org, approvers }) =>
    approvers.map(approver => [org, approver.name, approver.key.id, approver.key.algorithm, stateOf(approver)]),
  );
  if (rows.length > 0) await print(env, table([['ORG', 'APPROVER', 'KEY', 'ALGORITHM', 'STATE'], ...rows]));
  for (const { org, approvers, approvalsRequired } of profiles) {
    if (approvers.length === 0) say(env, `${org} has no approval keys`);
    else say(env, `${org} requires ${approvalsRequired} of its approvers`);
  }
}

const orgJson = ({ org, approvers, approvalsRequired }: OrgProfile) => ({
  org,
  required: approvalsRequired,
  keys: approvers.map(keyJson),
});

const keyJson = ({ name, key, addMs, revocation }: Approver) => ({
  approver: name,
  keyId: key.id,
  algorithm: key.algorithm,
  added: isoTime(addMs),
  publicKey: key.publicKey.export({ type: 'spki', format: 'pem' }),
  revoked: revocation && {
    since: isoTime(revocation.timeMs),
    reason: revocation.compromised ? 'compromised' : 'departed',
  },
});
