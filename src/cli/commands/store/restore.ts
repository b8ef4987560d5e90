import type { Command } from 'commander';
import { FedgateError } from '../../../errors.js';
import { restoreStore } from '../../../store/restore.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { isoTime } from '../../times.js';
import { DIR_OPTION, storePlace } from './folder.js';

interface RestoreOptions {
  readonly dir: string;
  readonly from: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerRestore(store: Command, env: CliEnv): void {
  store
    .command('restore')
    .description('put a backup where the store of a gateway is to be; the gateway must not run')
    .requiredOption(...DIR_OPTION)
    .requiredOption('--from <folder>', 'a backup; it stays as it is')
    .option('--force', 'replace the store that is there')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate store restore --dir acme --from /backups/acme-2026-03-01 --force')}\n\nWhat was stored after the backup is forgotten: what other organisations had not received by then is lost, and what was\nacknowledged after it comes again. The gateway numbers its streams anew, so that none of this happens silently.`,
    )
    .action((options: RestoreOptions) => restore(env, options));
}

/** Says what a person is to look at, or to do. */
function explained(error: unknown, from: string, place: string): unknown {
  if (!(error instanceof FedgateError)) return error;
  const { reason, message, metadata } = error;
  if (reason === 'STORE_LOCKED')
    return new FedgateError(reason, `${place}: ${message}; stop the gateway first`, { cause: error, metadata });
  if (reason === 'STORE_DAMAGED')
    return new FedgateError(reason, `${from}: not a backup that can be used: ${message}`, { cause: error, metadata });
  return error;
}

async function restore(env: CliEnv, { dir, from, force, json }: RestoreOptions): Promise<void> {
  const place = await storePlace(dir);
  const { id, restoredMs } = await restoreStore(from, place, { force }).catch(error => {
    throw explained(error, from, place);
  });
  const storeId = id.toString('hex');
  if (json) return printJson(env, { folder: place, storeId, restoreTime: isoTime(restoredMs) });
  await print(env, `${place}: restored from ${from}, as store ${storeId}`);
  say(env, 'start the gateway; it numbers its streams anew, and tells of what is missing');
}
