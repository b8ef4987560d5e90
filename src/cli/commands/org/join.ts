import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { FedgateError } from '../../../errors.js';
import { writeConfigTemplate } from '../../../gateway/config-template.js';
import { parseHostPort } from '../../../identity/names.js';
import { joinFederation } from '../../../registry/join.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { collect } from '../../options.js';

interface JoinFlags {
  readonly dir: string;
  readonly gateway: string;
  readonly address: readonly string[];
  readonly json?: boolean;
}

export function registerJoin(org: Command, env: CliEnv): void {
  org
    .command('join')
    .description('join a federation with an invitation code: makes the keys here, and registers the organisation')
    .argument(
      '<code>',
      'the invitation code; - reads it from standard input, where other users of the machine cannot see it',
    )
    .requiredOption('--dir <folder>', "the organisation's folder; made if it is not there")
    .option('--gateway <name>', 'the name of the first gateway', 'gw1')
    .option(
      '--address <host:port>',
      'where other organisations reach that gateway; may be given several times; none: it only dials out',
      collect,
      [],
    )
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      examples(
        'fedgate org join fedgate1-eyJmIjoi… --dir acme --address gw.acme.example:7411',
        'echo "$CODE" | fedgate org join - --dir acme',
      ),
    )
    .action((code: string, flags: JoinFlags) => join(env, code, flags));
}

async function join(env: CliEnv, codeOrDash: string, { dir, gateway, address, json }: JoinFlags): Promise<void> {
  for (const text of address) parseHostPort(text, 'address');
  const code = codeOrDash === '-' ? await readCode(env.stdin) : codeOrDash;
  const { org, federation } = await joinFederation({
    code,
    folder: dir,
    gatewayName: gateway,
    addresses: address,
    signal: env.signal,
  });
  const config = await writeConfigTemplate(dir, { gateway, ...listenFor(address) });
  if (json) return printJson(env, { org, federation, folder: dir, gateway, config });
  await print(env, `${org} is a member of ${federation}`);
  say(env, `keys, certificates and configuration are in ${dir}; keep ${dir}/ca safe: whoever has it is ${org}`);
}

/** The gateway listens for others on the port at which they are told to find it. */
function listenFor(addresses: readonly string[]): { listenNodes: string; listenPeers: string } {
  const [first] = addresses;
  const port = first === undefined ? 7411 : parseHostPort(first, 'address').port;
  return { listenNodes: '127.0.0.1:7410', listenPeers: `0.0.0.0:${port}` };
}

const MAX_CODE_BYTES = 64 * 1024;

async function readCode(stdin: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk as Uint8Array);
    length += bytes.length;
    if (length > MAX_CODE_BYTES)
      throw new FedgateError('INVITATION_MALFORMED', 'standard input is no invitation code: far too long');
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}
