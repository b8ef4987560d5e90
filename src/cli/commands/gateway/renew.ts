import type { Command } from 'commander';
import { renewGateway } from '../../../gateway/gateway-certificate.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { parseCount } from '../../options.js';
import { isoTime } from '../../times.js';

interface RenewFlags {
  readonly dir: string;
  readonly days: string;
  readonly json?: boolean;
}

export function registerRenew(gateway: Command, env: CliEnv): void {
  gateway
    .command('renew')
    .argument('<name>', 'the name of the gateway')
    .description('make a new key and certificate for a gateway of yours; it uses them when it starts again')
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option('--days <n>', 'how long the certificate is good', '365')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate gateway renew gw1 --dir acme')}\n\nThe earlier certificate stays good until it ends; it is kept as previous.crt, for: fedgate org revoke`,
    )
    .action((name: string, flags: RenewFlags) => renew(env, name, flags));
}

async function renew(env: CliEnv, name: string, { dir, days, json }: RenewFlags): Promise<void> {
  const renewed = await renewGateway({ folder: dir, name, days: parseCount(days, '--days', 1) });
  const { org, gateway, folder, previous, notAfterMs } = renewed;
  const until = isoTime(notAfterMs);
  if (json) return printJson(env, { org, gateway, folder, previous, until });
  await print(env, `gateway ${gateway} of ${org}: new certificate and key in ${folder}, good until ${until}`);
  say(env, `restart the gateway; the earlier certificate is ${previous}`);
}
