import type { Command } from 'commander';
import { backupStore } from '../../../store/backup.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { formatBytes, showBytes } from '../../progress.js';
import { DIR_OPTION, interrupted, storeIn } from './folder.js';

interface BackupOptions {
  readonly dir: string;
  readonly to: string;
  readonly json?: boolean;
}

export function registerBackup(store: Command, env: CliEnv): void {
  store
    .command('backup')
    .description('copy the store of a gateway while it runs')
    .requiredOption(...DIR_OPTION)
    .requiredOption('--to <folder>', 'where to: a folder that does not exist, or is empty; it appears when complete')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate store backup --dir acme --to /backups/acme-$(date +%F)')}\n\nCtrl-C leaves nothing behind. Keys, certificates and gateway.yaml are not part of it.`,
    )
    .action((options: BackupOptions) => backup(env, options));
}

async function backup(env: CliEnv, { dir, to, json }: BackupOptions): Promise<void> {
  const progress = showBytes(env);
  try {
    const { segments, bytes } = await backupStore(await storeIn(dir), to, ({ copiedBytes }) => {
      if (env.signal.aborted) throw interrupted();
      progress.update(copiedBytes);
    });
    progress.stop();
    if (json) return await printJson(env, { to, segments, bytes });
    await print(env, `${to}: ${formatBytes(bytes)} of records, and all rows`);
  } finally {
    progress.stop();
  }
}
