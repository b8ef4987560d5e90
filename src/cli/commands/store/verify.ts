import type { Command } from 'commander';
import { BODY_VERIFIERS } from '../../../durable/body-verifiers.js';
import { type VerifyReport, verifyStore } from '../../../store/verify.js';
import { formatCount, plural } from '../../counts.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { formatBytes } from '../../progress.js';
import { DIR_OPTION, interrupted, storeIn } from './folder.js';

interface VerifyOptions {
  readonly dir: string;
  readonly quick?: boolean;
  readonly json?: boolean;
}

export function registerVerify(store: Command, env: CliEnv): void {
  store
    .command('verify')
    .description('read all that is stored and compare it with its digests; the gateway may run, and nothing is changed')
    .requiredOption(...DIR_OPTION)
    .option('--quick', 'read the rows only, and leave out the records')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate store verify --dir acme', 'fedgate store verify --dir acme --quick')}\n\nExits with ${EXIT.checkFailed} when something is missing or not what was written. A gateway that finds such a batch fetches it\nagain from its origin, or tells its consumers of the gap.`,
    )
    .action((options: VerifyOptions) => verify(env, options));
}

async function verify(env: CliEnv, { dir, quick, json }: VerifyOptions): Promise<void> {
  const stop = new AbortController();
  env.signal.addEventListener('abort', () => stop.abort(interrupted()), { once: true });
  const folder = await storeIn(dir);
  const report = await verifyStore(folder, { bodies: !quick, verifiers: BODY_VERIFIERS, signal: stop.signal });
  const good = report.missing + report.bad === 0;
  if (!good) env.exitCode = EXIT.checkFailed;
  if (json) return printJson(env, toJson(folder, report));
  for (const { table, key, problem } of report.findings)
    await print(env, `${table} ${key.toString('hex')}: ${problem}`);
  const { rows, bodies, bodyBytes, missing, bad } = report;
  const read = `${plural(rows, 'row')}${quick ? '' : `, ${plural(bodies, 'batch', 'batches')} of records (${formatBytes(bodyBytes)})`}`;
  if (good) return print(env, `${folder}: all is well: ${read}`);
  await print(env, `${folder}: ${formatCount(bad)} bad, ${formatCount(missing)} missing: ${read}`);
  const untold = missing + bad - report.findings.length;
  if (untold > 0) say(env, `${formatCount(untold)} more are not listed`);
}

const toJson = (folder: string, { identity, findings, ...counts }: VerifyReport): unknown => ({
  folder,
  storeId: identity.id.toString('hex'),
  ...counts,
  findings: findings.map(({ table, key, problem }) => ({ table, key: key.toString('hex'), problem })),
});
