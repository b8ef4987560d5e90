import { statfs } from 'node:fs/promises';
import type { Command } from 'commander';
import { verifyStore } from '../../../store/verify.js';
import { formatCount } from '../../counts.js';
import { type CliEnv, print, printJson, table } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { formatBytes } from '../../progress.js';
import { isoTime } from '../../times.js';
import { DIR_OPTION, folderBytes, storeIn } from './folder.js';
import { describeStore, storeJson } from './text.js';

interface StatsOptions extends GatewayOptions {
  readonly dir?: string;
  readonly json?: boolean;
}

export function registerStats(store: Command, env: CliEnv): void {
  const command = store
    .command('stats')
    .description('show the store of a gateway: its state, its size, what the log holds')
    .option(DIR_OPTION[0], `${DIR_OPTION[1]}: look there instead of asking the gateway, which need not run`)
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples('fedgate store stats', 'fedgate store stats --json | jq .freeBytes', 'fedgate store stats --dir acme'),
    )
    .action((options: StatsOptions) =>
      options.dir === undefined ? ask(env, options) : look(env, options.dir, options),
    );
}

async function ask(env: CliEnv, options: StatsOptions): Promise<void> {
  const answer = await withClient(env, options, client => client.durable.getStoreStats());
  await (options.json ? printJson(env, storeJson(answer)) : print(env, describeStore(answer, Date.now())));
}

async function look(env: CliEnv, dir: string, { json }: StatsOptions): Promise<void> {
  const folder = await storeIn(dir);
  const { identity, rows } = await verifyStore(folder, { bodies: false, verifiers: new Map(), signal: env.signal });
  const [diskBytes, { bavail, bsize }] = await Promise.all([folderBytes(folder), statfs(folder)]);
  const freeBytes = bavail * bsize;
  const storeId = identity.id.toString('hex');
  const restoreTime = identity.restoredMs > 0 ? isoTime(identity.restoredMs) : undefined;
  if (json) return printJson(env, { folder, storeId, rows, diskBytes, freeBytes, restoreTime });
  await print(
    env,
    table([
      ['folder', folder],
      ['size', `${formatBytes(diskBytes)} on the disk, which has ${formatBytes(freeBytes)} left`],
      ['rows', formatCount(rows)],
      ['restored', restoreTime ?? 'never'],
      ['store id', storeId],
    ]),
  );
}
