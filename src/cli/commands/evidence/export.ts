import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import {
  DeadLetter_Direction,
  type ExportEvidenceRequest,
} from '../../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { FedgateError, fieldError } from '../../../errors.js';
import { describeUnreadable, noticingUnreadable, type Unreadable } from '../../../evidence/unreadable.js';
import { parseOrgName } from '../../../identity/names.js';
import { formatCount } from '../../counts.js';
import { type CliEnv, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { writeWhole } from '../../output-file.js';
import { formatBytes, showBytes } from '../../progress.js';
import { parseTime } from '../../times.js';

/** What is named one by one. */
const MAX_TOLD = 20;

interface ExportOptions extends GatewayOptions {
  readonly to: string;
  readonly force?: boolean;
  readonly org?: string;
  readonly channel?: string;
  readonly fromTime?: string;
  readonly toTime?: string;
  readonly sent?: boolean;
  readonly received?: boolean;
  readonly withoutRecords?: boolean;
  readonly json?: boolean;
}

export function registerExport(evidence: Command, env: CliEnv): void {
  const command = evidence
    .command('export')
    .description('write what proves that batches were sent or received into a file that anybody can verify offline')
    .requiredOption('--to <file>', 'where to; there is no such file until it is complete')
    .option('--force', 'replace the file that is there')
    .option('--org <org>', 'only what was sent to or came from an organisation')
    .option('--channel <pattern>', 'only channels that match')
    .option('--from-time <time>', 'from when: 2026-03-01T12:00:00Z, or a duration before now such as 24h')
    .option('--to-time <time>', 'until before when, likewise')
    .option('--sent', 'only what was sent from here')
    .option('--received', 'only what arrived here')
    .option('--without-records', 'leave the records out; their digests stay, so that who has them can still compare')
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate evidence export --to all.evidence',
        'fedgate evidence export --to march.evidence --org GLOBEX --channel "orders/**" --sent --from-time 2026-03-01 --to-time 2026-04-01',
      )}\n\nExits with ${EXIT.checkFailed} when rows of the store are damaged: the file is written without them, and names them.`,
    )
    .action((options: ExportOptions) => exportEvidence(env, options));
}

async function exportEvidence(env: CliEnv, options: ExportOptions): Promise<void> {
  const request = parseRequest(options, Date.now());
  if (existsSync(options.to) && !options.force)
    throw new FedgateError('FILE_UNUSABLE', `${options.to} is there already; --force replaces it`);
  const progress = showBytes(env);
  try {
    const damage = new Damage();
    const bytes = await withClient(env, options, client => {
      const file = noticingUnreadable(client.durable.exportEvidence(request, env.signal), damage.add);
      return writeWhole(options.to, file, progress.update);
    });
    progress.stop();
    damage.tell(env);
    if (options.json) return await printJson(env, { file: options.to, bytes, unreadable: damage.count });
    say(env, `${options.to}: ${formatBytes(bytes)}; to check it: fedgate evidence verify ${options.to} --ca CA.pem`);
  } catch (error) {
    progress.stop();
    if (env.signal.aborted) say(env, `fedgate: interrupted; ${options.to} was not written`);
    throw error;
  }
}

/** What could not be read. The file holds all the same, and says by itself what is missing. */
class Damage {
  readonly #first: Unreadable[] = [];
  count = 0;

  readonly add = (found: Unreadable): void => {
    if (++this.count <= MAX_TOLD) this.#first.push(found);
  };

  tell(env: CliEnv): void {
    if (this.count === 0) return;
    env.exitCode = EXIT.checkFailed;
    for (const found of this.#first)
      say(env, `fedgate: could not be read: ${describeUnreadable(found)}; its row in the store is damaged`);
    const more = this.count - this.#first.length;
    if (more > 0) say(env, `fedgate: ${formatCount(more)} more could not be read; the file names them`);
  }
}

function parseRequest(options: ExportOptions, nowMs: number): ExportEvidenceRequest {
  const { sent, received, org, channel, fromTime, toTime } = options;
  if (sent && received) throw fieldError('--sent', 'give one of: --sent, --received; neither for both');
  const fromTimeMs = BigInt(fromTime === undefined ? 0 : parseTime(fromTime, '--from-time', nowMs));
  const toTimeMs = BigInt(toTime === undefined ? 0 : parseTime(toTime, '--to-time', nowMs));
  if (toTimeMs > 0n && toTimeMs <= fromTimeMs) throw fieldError('--to-time', 'is not behind --from-time');
  const { DIRECTION_INCOMING, DIRECTION_OUTGOING, DIRECTION_UNSPECIFIED } = DeadLetter_Direction;
  return {
    org: org === undefined ? '' : parseOrgName(org, '--org'),
    pattern: channel ?? '',
    fromTimeMs,
    toTimeMs,
    withoutRecords: options.withoutRecords === true,
    direction: sent ? DIRECTION_OUTGOING : received ? DIRECTION_INCOMING : DIRECTION_UNSPECIFIED,
  };
}
