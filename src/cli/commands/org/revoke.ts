import type { Command } from 'commander';
import { revokeGateway } from '../../../gateway/gateway-certificate.js';
import { confirm, YES_OPTION } from '../../confirm.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';

interface RevokeFlags {
  readonly dir: string;
  readonly certificate?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function registerOrgRevoke(org: Command, env: CliEnv): void {
  org
    .command('revoke')
    .argument('<gateway>', 'the name of the gateway')
    .description("take back a gateway's certificate, in your organisation's record; signed by its CA")
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option('--certificate <file>', 'this certificate of the gateway; otherwise the one that it has now')
    .option(...YES_OPTION)
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples(
        'fedgate org revoke gw1 --dir acme --certificate acme/gateways/gw1/previous.crt',
        'fedgate org revoke gw1 --dir acme --yes',
      )}\n\nAsks on a terminal; elsewhere --yes is needed. Other gateways and the registry refuse the certificate, and others with the same key, from then\non, and cut the link that was made with it. It cannot be taken back. A new certificate: fedgate gateway renew`,
    )
    .action((name: string, flags: RevokeFlags) => revoke(env, name, flags));
}

async function revoke(env: CliEnv, name: string, { dir, certificate, yes = false, json }: RevokeFlags): Promise<void> {
  await confirm(env, yes, `revoke ${certificate ?? `the present certificate of gateway ${name}`}, for ever?`);
  const revoked = await revokeGateway({ folder: dir, name, certificate, signal: env.signal });
  const { org, gateway, keyId, present } = revoked;
  if (json) return printJson(env, { org, gateway, keyId, present });
  await print(env, `revoked: certificates of gateway ${gateway} of ${org} with the key ${keyId}`);
  if (present)
    say(env, `the gateway itself has that key: fedgate gateway renew ${gateway} --dir ${dir}, then restart it`);
}
