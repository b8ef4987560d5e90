import type { Command } from 'commander';
import type { FedgateClient, Proposal } from '../../../client/index.js';
import { FedgateError, fieldError, quoted } from '../../../errors.js';
import { letHeapGrow } from '../../../heap-growth.js';
import { parseOrgName } from '../../../identity/names.js';
import { escapeControls } from '../../../text.js';
import { plural } from '../../counts.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { collect, type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { isoTime, parseTime } from '../../times.js';
import { TransferNotes } from '../../transfer-notes.js';
import { changeLine, proposalJson } from '../proposals/text.js';
import { Sharer } from '../share/sharer.js';
import { shareToPropose } from './share.js';
import { type ToPropose, toPropose } from './sources.js';

interface ProposeCommandOptions extends GatewayOptions {
  readonly project: string;
  readonly version: string;
  readonly orgs: string;
  readonly threshold: string;
  readonly expires?: string;
  readonly notBefore?: string;
  readonly name?: string;
  readonly note?: string;
  readonly link?: readonly string[];
  readonly wait?: boolean;
  readonly json?: boolean;
}

export function registerPropose(program: Command, env: CliEnv): void {
  const command = program
    .command('propose')
    .argument('<file...>', 'a file, or the files and folders of a package')
    .description('propose code for approval by several organisations; prints the id of the proposal')
    .requiredOption('--project <name>', 'the project it belongs to')
    .requiredOption('--version <version>', 'its version')
    .requiredOption('--orgs <orgs>', 'the organisations that may approve, split by commas')
    .requiredOption('--threshold <k>', 'how many of them must')
    .option('--expires <duration>', 'how long votes count (default: 14d)')
    .option('--not-before <time>', 'from when votes count, such as 2026-03-01T12:00:00Z (default: from now)')
    .option('--name <name>', 'the name of the artifact (default: that of the file or folder)')
    .option('--note <text>', 'a note for the approvers; they sign it too')
    .option('--link <url>', 'a link for the approvers; may be repeated', collect)
    .option('--wait', `wait until it is decided; exits with ${EXIT.notApproved} unless it is approved`)
    .option('--json', 'report each event as a line of JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate propose widget.tar --project widget --version 1.2.0 --orgs ACME,GLOBEX,INITECH --threshold 2',
        'fedgate propose src/ --project widget --version 1.2.0 --orgs GLOBEX,INITECH --threshold 2 --expires 3d --wait',
      )}\n\n${HELP}`,
    )
    .action((files: string[], options: ProposeCommandOptions) => propose(env, files, options));
}

const HELP = `The files are shared with the organisations named, which then review and sign one statement: which SHA-256, of which project and version,
who may approve, how many must, until when. Nothing of that can be changed afterwards.
A folder, or several files, is a package: what is approved is the list of its files as sha256sum writes it, and with it each of them.
After Ctrl-C, or a lost connection that did not come back, the same command goes on where it ended, for a day: it makes one proposal.`;

async function propose(env: CliEnv, paths: readonly string[], options: ProposeCommandOptions): Promise<void> {
  letHeapGrow('program');
  const { json = false } = options;
  const terms = parseTerms(options, Date.now());
  const source = await toPropose(paths, `${terms.project}-${terms.version}`);
  await withClient(env, options, async client => {
    const notes = await TransferNotes.open(env, options);
    try {
      const proposal = await make(env, client, notes, source, terms, options);
      if (json) await printJson(env, { event: 'proposed', proposal: proposalJson(proposal) });
      else {
        await print(env, proposal.id);
        say(env, describeMade(proposal, source));
      }
      if (options.wait) await wait(env, client, proposal, json);
    } catch (error) {
      if (error instanceof FedgateError && error.reason === 'CANCELLED')
        say(env, 'fedgate: interrupted; the same command goes on where this one ended');
      throw error;
    }
    // Only now: until it is decided, the same command with --wait goes on waiting.
    await notes.forgetAll();
  });
}

interface Terms {
  readonly project: string;
  readonly version: string;
  readonly orgs: readonly string[];
  readonly threshold: number;
  readonly expiresMs: number | undefined;
  readonly notBeforeMs: number | undefined;
}

function parseTerms(
  { project, version, orgs, threshold, expires, notBefore }: ProposeCommandOptions,
  nowMs: number,
): Terms {
  const named = orgs.split(',').map(org => parseOrgName(org.trim(), '--orgs'));
  const twice = named.find((org, i) => named.indexOf(org) !== i);
  if (twice !== undefined) throw fieldError('--orgs', `${quoted(twice)} stands there twice`);
  const least = parseCount(threshold, '--threshold', 1);
  if (least > named.length)
    throw fieldError('--threshold', `${least} of ${plural(named.length, 'organisation')} can never be reached`);
  return {
    project,
    version,
    orgs: named,
    threshold: least,
    expiresMs: expires === undefined ? undefined : parseDuration(expires, '--expires'),
    notBeforeMs: notBefore === undefined ? undefined : parseTime(notBefore, '--not-before', nowMs),
  };
}

async function make(
  env: CliEnv,
  client: FedgateClient,
  notes: TransferNotes,
  source: ToPropose,
  terms: Terms,
  { name, note, link, json = false }: ProposeCommandOptions,
): Promise<Proposal> {
  const { expiresMs, ...rest } = terms;
  const files = (source.kind === 'file' ? [source.file] : source.files).map(({ absolute, size, mtimeMs }) => [
    ...[absolute, size, mtimeMs],
  ]);
  // First of all, so that the same command means the same proposal, until the same moment.
  const noted = await notes.recall(['propose', files, terms, name, note, link], expiresMs);
  const sharer = new Sharer(env, client, notes, {
    ...{ audience: { orgs: terms.orgs }, expiresMs: undefined, maxDownloads: undefined },
    ...{ name: undefined, mediaType: undefined, requiresApproval: false, json },
  });
  const shared = await shareToPropose(sharer, source, name);
  const notAfterMs =
    expiresMs !== undefined && terms.notBeforeMs !== undefined ? terms.notBeforeMs + expiresMs : noted.expireTimeMs;
  return client.approvals.propose({ ...rest, ...shared, notAfterMs, note, links: link, proposalId: noted.id });
}

function describeMade(
  { project, version, standings, threshold, notAfterMs, artifact }: Proposal,
  source: ToPropose,
): string {
  const what = source.kind === 'file' ? '' : `${plural(source.files.length, 'file')}, `;
  const orgs = standings.map(({ org }) => org);
  return [
    `${escapeControls(artifact.name)} is proposed as ${project} ${version}: ${what}SHA-256 ${artifact.sha256}`,
    `${threshold} of ${orgs.join(', ')} must approve until ${isoTime(notAfterMs)}`,
  ].join('\n');
}

/** Until it is decided. */
async function wait(env: CliEnv, client: FedgateClient, { id }: Proposal, json: boolean): Promise<void> {
  for await (const proposal of client.approvals.watch({ id, signal: env.signal })) {
    if (json) await printJson(env, { event: 'changed', proposal: proposalJson(proposal) });
    else say(env, changeLine(proposal, Date.now()));
    if (proposal.state === 'open') continue;
    if (proposal.state !== 'approved') env.exitCode = EXIT.notApproved;
    return;
  }
  throw new FedgateError('CANCELLED', 'interrupted before it was decided');
}
