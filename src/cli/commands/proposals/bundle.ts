import { lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { bundleFiles } from '../../../approvals/bundle.js';
import { describe, FedgateError, fieldError, quoted } from '../../../errors.js';
import { writeFileAtomically } from '../../../identity/files.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { nameProblem } from '../../file-names.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { findProposalId, ID_HELP } from '../../proposal-id.js';

interface BundleOptions extends GatewayOptions {
  readonly output: string;
  readonly name?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerBundle(proposals: Command, env: CliEnv): void {
  const command = proposals
    .command('bundle')
    .argument('<id>', `${ID_HELP}; or the SHA-256 of an approved artifact`)
    .description('write the proof of an approved proposal into files that verify offline, with fedgate or without')
    .option('-o, --output <folder>', 'where to; made if need be', '.')
    .option('--name <name>', 'how the names of the files begin (default: the name of the artifact)')
    .option('--force', 'replace files that are there')
    .option('--json', 'list the files as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate proposals bundle 5c1f03aa -o proof', 'fedgate proposals bundle "$(sha256sum widget.tar | cut -d" " -f1)"')}

Writes NAME.approvals.dsse.json (one DSSE envelope with all signatures), NAME.ORG.sigstore.json (a Sigstore bundle for each signature)
and NAME.approvals.intoto.jsonl (envelopes with one signature each): the same signatures, each form enough by itself. docs/approvals.md tells
how to verify each.`,
    )
    .action((id: string, options: BundleOptions) => bundle(env, id, options));
}

async function bundle(env: CliEnv, which: string, options: BundleOptions): Promise<void> {
  const { output, json = false, force = false } = options;
  const found = await withClient(env, options, async client =>
    client.approvals.bundle(
      /^[0-9a-f]{64}$/.test(which) ? { sha256: which } : { id: await findProposalId(client, which) },
    ),
  );
  const name = options.name ?? found.artifactName;
  const made = bundleFiles({ ...found, artifactName: name });
  for (const file of [name, ...made.map(each => each.name)]) checkName(file);
  await mkdir(output, { recursive: true }).catch(cause => {
    throw new FedgateError('FILE_UNUSABLE', `${output}: a folder cannot be made there: ${describe(cause)}`, { cause });
  });
  const files = made.map(file => ({ ...file, path: join(output, file.name) }));
  for (const { path } of files) if (!force) await checkFree(path);
  for (const { path, text } of files) await writeFileAtomically(path, text);
  if (json) return printJson(env, { proposal: found.proposalId, files: files.map(({ path }) => path) });
  await print(env, files.map(({ path }) => path).join('\n'));
}

/** The names of artifacts and members come from others. */
function checkName(name: string): void {
  const problem = nameProblem(name) ?? (/^[.~-]/.test(name) ? 'begins with a dot, a tilde or a dash' : undefined);
  if (problem) throw fieldError('--name', `${quoted(name)} ${problem}; give another name`);
}

async function checkFree(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats) throw new FedgateError('FILE_UNUSABLE', `${path} is there already; --force replaces it`);
}
