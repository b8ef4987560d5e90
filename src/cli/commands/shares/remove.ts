import type { Command } from 'commander';
import { FedgateError } from '../../../errors.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { exitCodeOf, worstOf } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';

export function registerRemove(shares: Command, env: CliEnv): void {
  const command = shares
    .command('remove')
    .argument('<share...>', 'ids of shares of this node')
    .description('end shares; downloads under way end, what was fetched stays where it is')
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate shares remove share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11'))
    .action((ids: string[], options: GatewayOptions & { json?: boolean }) => remove(env, ids, options));
}

const OF_THE_SHARE: ReadonlySet<FedgateError['reason']> = new Set(['SHARE_UNKNOWN', 'SHARE_ENDED', 'FIELD_INVALID']);
const isOfTheShare = (error: unknown): error is FedgateError =>
  error instanceof FedgateError && OF_THE_SHARE.has(error.reason);

async function remove(
  env: CliEnv,
  ids: readonly string[],
  options: GatewayOptions & { json?: boolean },
): Promise<void> {
  await withClient(env, options, async client => {
    const failures: number[] = [];
    for (const id of ids) {
      try {
        await client.unshare(id);
      } catch (error) {
        // What is wrong with one is no reason to leave the others.
        if (ids.length === 1 || !isOfTheShare(error)) throw error;
        failures.push(exitCodeOf(error));
        const { message, reason } = error;
        if (options.json) await printJson(env, { event: 'failed', share: id, reason, error: message });
        say(env, `fedgate: ${message} [${reason}]`);
        continue;
      }
      if (options.json) await printJson(env, { event: 'removed', share: id });
      else await print(env, `${id} is over`);
    }
    env.exitCode = worstOf(failures);
  });
}
