import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { type LogSource, logHeader, logLine } from '../../../approvals/log-export.js';
import { loadContext } from '../../../client/context.js';
import type { ApprovalLogEntry } from '../../../client/index.js';
import { FedgateError, fieldError } from '../../../errors.js';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { writeWhole } from '../../output-file.js';
import { entryLine, shownEntry } from './log-text.js';

interface LogOptions extends GatewayOptions {
  readonly from?: string;
  readonly export?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerLog(proposals: Command, env: CliEnv): void {
  const command = proposals
    .command('log')
    .description(
      "show the gateway's log of approvals: every proposal, vote, receipt, refusal and decision, chained by hashes",
    )
    .option('--from <n>', 'from which entry on (default: 1)')
    .option('--export <file>', 'write all of it into a file, to be compared with that of another organisation')
    .option('--force', 'with --export: replace the file that is there')
    .option('--json', 'each as a line of JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples(
        'fedgate proposals log',
        'fedgate proposals log --from 120 --json',
        'fedgate proposals log --export acme.log',
      ),
    )
    .action((options: LogOptions) => log(env, options));
}

async function log(env: CliEnv, options: LogOptions): Promise<void> {
  if (options.export !== undefined) return exportLog(env, options, options.export);
  if (options.force) throw fieldError('--force', 'is for --export');
  const from = options.from === undefined ? 1 : parseCount(options.from, '--from', 1);
  await withClient(env, options, async client => {
    for await (const entry of client.approvals.log(from, { signal: env.signal })) {
      const shown = shownEntry(entry);
      await (options.json ? printJson(env, shown) : print(env, entryLine(shown)));
    }
  });
}

/** From the first entry on: only a whole chain can be checked. */
async function exportLog(env: CliEnv, options: LogOptions, file: string): Promise<void> {
  if (options.from !== undefined) throw fieldError('--from', 'not with --export, which writes all of it');
  if (existsSync(file) && !options.force)
    throw new FedgateError('FILE_UNUSABLE', `${file} is there already; --force replaces it`);
  const source = await sourceOf(env, options);
  let entries = 0;
  const count = (): void => void entries++;
  await withClient(env, options, client => {
    const log = client.approvals.log(1, { signal: env.signal });
    return writeWhole(file, linesOf(source, log, count), () => undefined);
  });
  if (options.json) return printJson(env, { file, entries });
  say(env, `${file}: ${plural(entries, 'entry', 'entries')}; to check it: fedgate proposals compare ${file} OTHER`);
}

async function* linesOf(
  source: LogSource,
  log: AsyncIterable<ApprovalLogEntry>,
  onEntry: () => void,
): AsyncGenerator<Buffer> {
  yield Buffer.from(logHeader(source));
  for await (const entry of log) {
    onEntry();
    yield Buffer.from(logLine(entry));
  }
}

/** Whose log it is: the name in the certificate of a gateway says all of that. */
async function sourceOf(env: CliEnv, options: GatewayOptions): Promise<LogSource> {
  const { serverName } = await loadContext(options.context ?? env.variables.FEDGATE_CONTEXT);
  const [gateway = '', org = '', ...federation] = serverName.split('.');
  return { gateway, org: org.toUpperCase(), federation: federation.join('.') };
}
