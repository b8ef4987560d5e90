import type { Command } from 'commander';
import { fieldError, quoted } from '../../../errors.js';
import { parseGatewayName, parseHostPort } from '../../../identity/names.js';
import type { GatewayEndpoint, OrgProfile } from '../../../registry/record.js';
import { fetchOwnRecord, updateRecord } from '../../../registry/update.js';
import { type CliEnv, print, printJson, table } from '../../env.js';
import { examples } from '../../help.js';
import { collect } from '../../options.js';

interface RecordFlags {
  readonly dir: string;
  readonly gateway: readonly string[];
  readonly json?: boolean;
}

export function registerRecord(org: Command, env: CliEnv): void {
  org
    .command('record')
    .description("show the organisation's record in the registry; with --gateway, sign a new one that replaces it")
    .option('--dir <folder>', "the organisation's folder", '.')
    .option(
      '--gateway <name=addresses>',
      'a gateway and where it is reached; give all of them, in the order to be tried',
      collect,
      [],
    )
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      examples(
        'fedgate org record --dir acme',
        'fedgate org record --dir acme --gateway gw1=gw1.acme.example:7411,203.0.113.7:7411 --gateway gw2=gw2.acme.example:7411',
      ),
    )
    .action((flags: RecordFlags) => record(env, flags));
}

async function record(env: CliEnv, { dir, gateway, json }: RecordFlags): Promise<void> {
  const gateways = gateway.map(parseGateway);
  const settings = { folder: dir, signal: env.signal };
  const profile =
    gateways.length === 0 ? await fetchOwnRecord(settings) : await updateRecord({ ...settings, gateways });
  await show(env, profile, json === true);
}

/** Reads `NAME=host:port[,host:port…]`. */
function parseGateway(text: string): GatewayEndpoint {
  const match = /^([^=]*)=(.+)$/.exec(text);
  if (!match) throw fieldError('gateway', `${quoted(text)} is not of the form NAME=host:port[,host:port]`);
  const name = parseGatewayName(match[1] ?? '', 'gateway');
  const addresses = (match[2] ?? '').split(',');
  for (const address of addresses) parseHostPort(address, `gateway ${name}`);
  return { name, addresses };
}

async function show(
  env: CliEnv,
  { org, sequence, gateways, authorities, timeMs }: OrgProfile,
  json: boolean,
): Promise<void> {
  const fingerprints = authorities.map(ca => ca.fingerprint256);
  const signed = new Date(timeMs).toISOString();
  if (json) return printJson(env, { org, sequence, signed, authorities: fingerprints, gateways });
  const rows = [
    ['organisation', org],
    ['sequence', `${sequence}, signed ${signed}`],
    ...fingerprints.map(fingerprint => ['CA (SHA-256)', fingerprint]),
    ...gateways.map(({ name, addresses }) => [`gateway ${name}`, addresses.join(', ')]),
  ];
  await print(env, table(rows));
}
