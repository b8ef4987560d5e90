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

/** What the other end does. */
const VERBS: { readonly [kind in Transfer['kind']]: string } = {
  upload: 'shares',
  fetch: 'fetches',
  send: 'fetches',
  unknown: 'moves',
};

function describeTransfer(transfer: Transfer): string {
  const { kind, state, org, node, name, shareId, doneBytes, totalBytes, error } = transfer;
  const size =
    totalBytes === undefined ? formatBytes(doneBytes) : `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
  const why = error === '' ? '' : `: ${escapeControls(error)}`;
  return `${org}/${node} ${VERBS[kind]} ${escapeControls(name)} ${shareId}  ${size}  ${state}${why}`;
}

const transferJson = ({ startTimeMs, ...transfer }: Transfer): object => ({
  ...transfer,
  startTime: isoTime(startTimeMs),
});
