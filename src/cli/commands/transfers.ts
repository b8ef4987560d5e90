import type { Command } from 'commander';
import type { Transfer } from '../../client/index.js';
import { escapeControls } from '../../text.js';
import { type CliEnv, print, printJson } from '../env.js';
import { examples } from '../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../options.js';
import { formatBytes } from '../progress.js';
import { isoTime } from '../times.js';

export function registerTransfers(program: Command, env: CliEnv): void {
  const command = program
    .command('transfers')
    .argument('[share]', 'only of this share')
    .description('watch files on their way; with the grant `admin` those of all nodes and organisations')
    .option('--json', 'one line of JSON per change');
  withGatewayOptions(command)
    .addHelpText('after', `${examples('fedgate transfers', 'fedgate transfers --json')}\n\nCtrl-C ends it.`)
    .action((share: string | undefined, options: GatewayOptions & { json?: boolean }) => watch(env, share, options));
}

async function watch(
  env: CliEnv,
  shareId: string | undefined,
  options: GatewayOptions & { json?: boolean },
): Promise<void> {
  const { signal } = env;
  await withClient(env, options, async client => {
    for await (const transfer of client.watchTransfers({ ...(shareId === undefined ? {} : { shareId }), signal })) {
      if (options.json) await printJson(env, transferJson(transfer));
      else await print(env, describeTransfer(transfer));
    }
  });
}

/** Who does what with it. A fetch is one of an own node, whose ever the share is. */
function describeMove({ kind, org, node, name }: Transfer): string {
  const shown = escapeControls(name);
  if (kind === 'upload') return `${node} shares ${shown}`;
  if (kind === 'fetch') return `${node} fetches ${shown} of ${org}`;
  return `${org}/${node} ${kind === 'send' ? 'fetches' : 'moves'} ${shown}`;
}

function describeTransfer(transfer: Transfer): string {
  const { state, shareId, doneBytes, totalBytes, error } = transfer;
  const size =
    totalBytes === undefined ? formatBytes(doneBytes) : `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
  const why = error === '' ? '' : `: ${escapeControls(error)}`;
  // An upload has no share yet.
  return [describeMove(transfer), ...(shareId ? [shareId] : []), ` ${size} `, `${state}${why}`].join(' ');
}

const transferJson = ({ startTimeMs, ...transfer }: Transfer): object => ({
  ...transfer,
  startTime: isoTime(startTimeMs),
});
