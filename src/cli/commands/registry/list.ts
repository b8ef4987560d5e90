import type { Command } from 'commander';
import type { Member } from '../../../../gen/ts/fedgate/registry/v1/record.js';
import type { ListFederationResponse } from '../../../../gen/ts/fedgate/registry/v1/registry_admin_service.js';
import { FedgateError } from '../../../errors.js';
import { readRecord } from '../../../registry/record.js';
import { memberStateFromWire } from '../../../registry/snapshot.js';
import { type CliEnv, print, printJson, say, table } from '../../env.js';
import { examples } from '../../help.js';
import { DIR_OPTION, withAdmin } from './options.js';

interface ListFlags {
  readonly dir: string;
  readonly json?: boolean;
}

export function registerList(registry: Command, env: CliEnv): void {
  registry
    .command('list')
    .description('list members and open invitations')
    .option(...DIR_OPTION)
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      examples('fedgate registry list --dir registry', 'fedgate registry list --dir registry --json'),
    )
    .action((flags: ListFlags) => list(env, flags));
}

async function list(env: CliEnv, { dir, json }: ListFlags): Promise<void> {
  const federation = await withAdmin(dir, admin => admin.list(env.signal));
  const rows = federation.members.map(member => summary(member, federation.federation));
  const invited = federation.invitations.map(({ org, expireTimeMs }) => ({ org, expires: isoTime(expireTimeMs) }));
  if (json) return printJson(env, { ...overview(federation), members: rows, invitations: invited });
  const members = rows.map(({ org, state, sequence, gateways }) => [
    org,
    state,
    String(sequence),
    gateways.map(({ name, addresses }) => `${name}=${addresses.join(',')}`).join(' ') || '-',
  ]);
  const invitations = invited.map(({ org, expires }) => [org, 'invited', '-', `until ${expires}`]);
  await print(env, table([['ORG', 'STATE', 'SEQUENCE', 'GATEWAYS'], ...members, ...invitations]));
  const { snapshot } = overview(federation);
  say(env, `${federation.federation}, snapshot ${snapshot.version}, good until ${snapshot.expires}`);
}

const overview = ({ federation, snapshotVersion, snapshotExpireTimeMs }: ListFederationResponse) => ({
  federation,
  snapshot: { version: snapshotVersion, expires: isoTime(snapshotExpireTimeMs) },
});

function summary({ org, state, record }: Member, federation: string) {
  if (!record) throw new FedgateError('RECORD_INVALID', `the registry has no record of ${org}`);
  const { sequence, gateways } = readRecord(record, federation);
  return { org, state: memberStateFromWire(state) ?? 'suspended', sequence, gateways };
}

const isoTime = (timeMs: bigint): string => new Date(Number(timeMs)).toISOString();
