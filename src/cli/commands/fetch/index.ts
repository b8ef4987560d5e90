import type { Command } from 'commander';
import type { FedgateClient, SharedFile } from '../../../client/index.js';
import { FedgateError, fieldError } from '../../../errors.js';
import { letHeapGrow } from '../../../heap-growth.js';
import { DIRECTORY_TYPE } from '../../directory-listing.js';
import { type CliEnv, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { TransferNotes } from '../../transfer-notes.js';
import { ApprovalDemand, type ApprovalOptions, withApprovalOptions } from './approved.js';
import { fetchDirectory, noteOf } from './directory.js';
import { fetchOne, tellFetched } from './file.js';
import { pipe } from './pipe.js';
import { chooseTarget } from './target.js';

interface FetchCommandOptions extends GatewayOptions, ApprovalOptions {
  readonly output?: string;
  readonly offset?: string;
  readonly length?: string;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export function registerFetch(program: Command, env: CliEnv): void {
  const command = program
    .command('fetch')
    .argument('<share>', 'the id of a share, of any organisation')
    .description('fetch a shared file or folder, verified piece by piece; prints its SHA-256 and path')
    .option(
      '-o, --output <path>',
      'where to: a path, a folder that is there, or - for standard output (default: its name, here)',
    )
    .option('--overwrite', 'replace a file that is there')
    .option('--offset <bytes>', 'with -o -: from this byte on')
    .option('--length <bytes>', 'with -o -: only so many bytes')
    .option('--json', 'report each event as a line of JSON');
  withGatewayOptions(withApprovalOptions(command))
    .addHelpText(
      'after',
      `${examples(
        'fedgate fetch share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11 -o report.pdf',
        'fedgate fetch share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11 -o - | tar -t',
        'fedgate fetch share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11 -o - --offset 1048576 --length 4096 | xxd',
        'fedgate fetch share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11 -o app --require-approved --policy policy.yaml',
      )}\n\n${HELP}`,
    )
    .action((id: string, options: FetchCommandOptions) => fetch(env, id, options));
}

const HELP = `There is no file of that name until all of it is verified and on stable storage; until then PATH.part holds what has come. After
Ctrl-C, or a lost connection that did not come back, the same command goes on where it ended, and counts as one download. A name
that somebody else chose is used only when it is a plain one and nothing is there. With -o - bytes are written as they come: a
piece that turns out to be another ends the command before its last bytes. A folder is written beneath -o only.
With --require-approved a file appears only when its SHA-256 is that of an approved artifact, and a folder only as a whole, when the
checksum list of its files is; exits with ${EXIT.notApproved} otherwise, and with ${EXIT.policyMissing} without a good policy.`;

async function fetch(env: CliEnv, id: string, options: FetchCommandOptions): Promise<void> {
  letHeapGrow('program');
  const { output, overwrite = false, json = false } = options;
  const offset = options.offset === undefined ? undefined : parseCount(options.offset, '--offset');
  const length = options.length === undefined ? undefined : parseCount(options.length, '--length', 1);
  if (output === '') throw fieldError('-o', 'is empty; leave it out for the name of the share, here');
  if (output !== '-' && (offset !== undefined || length !== undefined))
    throw fieldError(offset === undefined ? '--length' : '--offset', 'needs -o -');
  if (output === '-' && options.requireApproved)
    throw fieldError('--require-approved', 'not with -o -, which writes bytes before all of them are verified');
  if (output === '-' && json) throw fieldError('--json', 'not with -o -, which writes the bytes there');
  await withClient(env, options, async client => {
    if (output === '-') return pipe(env, client, id, { offset, length });
    try {
      await toDisk(env, client, id, options, { output, overwrite, json });
    } catch (error) {
      if (error instanceof FedgateError && error.reason === 'CANCELLED')
        say(env, 'fedgate: interrupted; the same command goes on where this one ended');
      if (isFull(error)) say(env, 'fedgate: there is no room left; once there is, the same command goes on');
      if (error instanceof FedgateError && error.reason === 'FILE_DAMAGED')
        say(
          env,
          'fedgate: what is shared was damaged on the disk; once it is shared again from there, the same command goes on',
        );
      throw error;
    }
  });
}

/** Whether the disk that is written to has no room, or the user no more of it. */
function isFull(error: unknown): boolean {
  const code = error instanceof FedgateError ? (error.cause as NodeJS.ErrnoException | undefined)?.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

async function toDisk(
  env: CliEnv,
  client: FedgateClient,
  id: string,
  options: GatewayOptions & ApprovalOptions,
  { output, overwrite, json }: { output: string | undefined; overwrite: boolean; json: boolean },
): Promise<void> {
  const demand = await ApprovalDemand.open(env, client, options);
  const share = await client.getShare(id);
  const isFolder = share.mediaType === DIRECTORY_TYPE;
  const notes = await TransferNotes.open(env, options);
  const target = await chooseTarget(output, share.name, isFolder, path => notes.has(noteOf(id, path)));
  if (!isFolder) {
    // Before anything is fetched, and again for the very bytes that were.
    const accept = demand && ((fetched: SharedFile) => demand.check(fetched, target));
    await accept?.(share);
    const place = { to: target, ...(accept ? { accept } : {}) };
    return await tellFetched(env, json, await fetchOne(env, client, id, place, { overwrite, json }));
  }
  if (demand && overwrite) throw fieldError('--overwrite', 'not for a folder with --require-approved');
  await fetchDirectory(env, client, notes, share, target, { overwrite, json }, demand);
  await notes.forgetAll();
}
