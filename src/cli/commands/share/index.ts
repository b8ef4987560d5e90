import type { Command } from 'commander';
import type { SharedFile } from '../../../client/index.js';
import { FedgateError, fieldError } from '../../../errors.js';
import { parseDisplayName, parseMediaType } from '../../../files/display-name.js';
import { letHeapGrow } from '../../../heap-growth.js';
import { escapeControls } from '../../../text.js';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { formatBytes } from '../../progress.js';
import { TransferNotes } from '../../transfer-notes.js';
import { shareJson } from '../shares/text.js';
import { Sharer } from './sharer.js';
import { type ToShare, toShare } from './sources.js';
import { parseTerms, type Terms, type TermsOptions, withTermsOptions } from './terms.js';

interface ShareCommandOptions extends GatewayOptions, TermsOptions {
  readonly name?: string;
  readonly type?: string;
  readonly requiresApproval?: boolean;
  readonly json?: boolean;
}

export function registerShare(program: Command, env: CliEnv): void {
  const command = program
    .command('share')
    .argument('<file...>', 'files, folders, or - for standard input')
    .description('share files with other organisations; prints the id of each share');
  withTermsOptions(command)
    .option('--name <name>', 'the name to show (default: that of the file)')
    .option('--type <type>', 'the media type (default: application/octet-stream)')
    .option('--requires-approval', 'may be fetched only once an approval of its content exists')
    .option('--json', 'report each event as a line of JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate share report.pdf --to GLOBEX',
        'fedgate share build.tar --to GLOBEX/erp,@partners --expires 7d --max-downloads 3',
        'fedgate pub pubsub://GLOBEX/files "$(fedgate share report.pdf --to GLOBEX)"',
        'pg_dump shop | fedgate share - --name shop.sql --to GLOBEX',
      )}\n\n${HELP}`,
    )
    .action((files: string[], options: ShareCommandOptions) => share(env, files, options));
}

/** What the gateway would refuse is refused here by the name that it has here. */
function checkOptions(paths: readonly string[], { name, type }: ShareCommandOptions, { expiresMs }: Terms): void {
  if (name !== undefined && paths.length > 1) throw fieldError('--name', 'is for one file');
  if (name !== undefined) parseDisplayName(name, '--name');
  if (type !== undefined) parseMediaType(type, '--type');
  if (expiresMs === 0) throw fieldError('--expires', 'it would be over at once; leave it out for a share without end');
  if (paths.filter(path => path === '-').length > 1) throw fieldError('-', 'standard input is there once');
}

const HELP = `Who is to have the file is told the id, by a message for instance, and fetches it with \`fedgate fetch\`. Without --to and
--anyone nobody but this node may. After Ctrl-C, or a lost connection that did not come back, the same command goes on where it
ended, for a day; standard input begins anew. A file that changes meanwhile is not shared.
A folder is shared as a share for each of its regular files, and a listing of them whose id is printed; it must not hold symbolic
links or special files; empty folders and permissions are left out. Archives are files like others.`;

async function share(env: CliEnv, paths: readonly string[], options: ShareCommandOptions): Promise<void> {
  letHeapGrow('program');
  const { name, type: mediaType, requiresApproval = false, json = false } = options;
  const terms = parseTerms(options);
  checkOptions(paths, options, terms);
  const sources: ToShare[] = [];
  for (const path of paths) sources.push(await toShare(path));
  const folder = sources.find(({ kind }) => kind === 'directory');
  if (folder && (name !== undefined || mediaType !== undefined))
    throw fieldError(name === undefined ? '--type' : '--name', 'is for one file, not for a folder');
  if (!terms.audience) say(env, 'nobody but this node may fetch it; --to and --anyone say who may');
  await withClient(env, options, async client => {
    const notes = await TransferNotes.open(env, options);
    const sharer = new Sharer(env, client, notes, { ...terms, name, mediaType, requiresApproval, json });
    for (const source of sources) await told(env, source, () => sharer.share(source), json);
    await notes.forgetAll();
  });
}

/** The id alone on standard output. */
async function told(env: CliEnv, source: ToShare, work: () => Promise<SharedFile>, json: boolean): Promise<void> {
  const file = source.kind === 'stdin' ? '-' : source.kind === 'file' ? source.file.path : source.path;
  try {
    const shared = await work();
    const files = source.kind === 'directory' ? { files: source.files.length } : {};
    if (json) return await printJson(env, { event: 'shared', file, ...files, share: shareJson(shared) });
    await print(env, shared.id);
    const size = source.kind === 'directory' ? plural(source.files.length, 'file') : formatBytes(shared.size);
    say(env, `${escapeControls(file)}: shared, ${size}, SHA-256 ${shared.sha256}`);
  } catch (error) {
    const again = source.kind !== 'stdin' && error instanceof FedgateError && error.reason === 'CANCELLED';
    if (again)
      say(env, `fedgate: interrupted; the same command goes on with ${escapeControls(file)} where this one ended`);
    throw error;
  }
}
