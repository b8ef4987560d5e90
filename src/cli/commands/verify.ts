import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { MAX_BUNDLE_BYTES } from '../../approvals/verify/evidence.js';
import { readWholeFile } from '../../approvals/verify/measure.js';
import { Memory } from '../../approvals/verify/memory.js';
import { readPolicy } from '../../approvals/verify/policy.js';
import { type Verdict, verifyFile } from '../../approvals/verify/verify.js';
import { stateFolder } from '../../client/context.js';
import { FedgateError } from '../../errors.js';
import { escapeControls } from '../../text.js';
import { type CliEnv, print, printJson, say, table } from '../env.js';
import { EXIT } from '../exit-codes.js';
import { examples } from '../help.js';
import { showBytes } from '../progress.js';
import { isoTime } from '../times.js';

interface VerifyOptions {
  readonly policy?: string;
  readonly list?: string;
  readonly project?: string;
  readonly artifactVersion?: string;
  readonly proposal?: string;
  /** False: --no-state. True: neither was given. */
  readonly state: string | boolean;
  readonly json?: boolean;
}

export function registerVerify(program: Command, env: CliEnv): void {
  program
    .command('verify')
    .argument('<file>', 'what is to be verified: a file, or the folder of a package')
    .argument('<bundle...>', 'bundles of its approval, in any of their three forms')
    .description(
      'check offline whether a file is approved, by a policy of your own: which organisations, which keys, how many',
    )
    .option('--policy <file>', 'whom you trust; `fedgate policy init` makes one')
    .option(
      '--list <file>',
      "the checksum list of a package; otherwise a file beside the folder with the artifact's name",
    )
    .option('--project <org/project>', 'it must be one of this project')
    .option('--artifact-version <version>', 'it must be this version')
    .option('--proposal <id>', 'it must be this proposal')
    .option('--state <file>', 'where to remember what was verified, so that nothing older is taken for new')
    .option('--no-state', 'remember nothing, and do not look at what was remembered')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples(
        'fedgate verify scanner.tar scanner.tar.approvals.dsse.json --policy policy.yaml',
        'fedgate verify app/ app.sha256.*.sigstore.json --policy policy.yaml --project ACME/app --json',
      )}\n\nExits with ${EXIT.ok} when it is approved, ${EXIT.notApproved} when not, ${EXIT.policyMissing} without a good policy, ${EXIT.usage} for a bundle that is none, and ${EXIT.nothingThere} when there is no such file.`,
    )
    .action((file: string, bundles: readonly string[], options: VerifyOptions) => verify(env, file, bundles, options));
}

async function verify(env: CliEnv, file: string, paths: readonly string[], options: VerifyOptions): Promise<void> {
  // The policy first: without one nothing else matters.
  if (options.policy === undefined) {
    throw new FedgateError('POLICY_INVALID', '--policy is missing: nothing is verified without a policy of your own');
  }
  const policy = await readPolicy(options.policy);
  const missing = await firstMissing([file, ...paths, ...(options.list === undefined ? [] : [options.list])]);
  if (missing !== undefined) {
    env.exitCode = EXIT.nothingThere;
    return say(env, `fedgate: there is no file ${escapeControls(missing)}`);
  }
  const bundles = await Promise.all(
    paths.map(async name => ({ name, content: await readWholeFile(name, MAX_BUNDLE_BYTES) })),
  );
  const progress = showBytes(env);
  const verdict = await verifyFile(file, {
    bundles,
    policy,
    memory: options.state === false ? undefined : await Memory.open(statePath(env, options.state)),
    nowMs: Date.now(),
    expected: { project: options.project, version: options.artifactVersion, proposalId: options.proposal },
    list: options.list,
    onProgress: progress.update,
  }).finally(() => progress.stop());
  if (!verdict.approved) env.exitCode = EXIT.notApproved;
  await (options.json ? printJson(env, verdictJson(file, verdict)) : print(env, describeVerdict(file, verdict)));
}

export const statePath = (env: CliEnv, given: string | boolean): string =>
  typeof given === 'string' ? given : join(stateFolder(env.variables), 'verified.json');

async function firstMissing(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const code = await stat(path).then(
      () => undefined,
      error => (error as NodeJS.ErrnoException).code,
    );
    if (code === 'ENOENT') return path;
  }
  return undefined;
}

/** A verdict for people: what it is about, every organisation, and every signature that does not count. */
export function describeVerdict(file: string, verdict: Verdict): string {
  const { approved, proposal, problems, orgs, signatures, counted, needed } = verdict;
  const about = `${proposal.proposer}/${proposal.project} ${proposal.version} (number ${proposal.sequence}, proposal ${proposal.id})`;
  const lost = signatures.filter(({ counts }) => !counts);
  return [
    `${file} is ${approved ? 'approved' : 'NOT approved'}: ${about}`,
    ...problems.map(problem => `  ${problem}`),
    table([
      ['ORGANISATION', 'RESULT', 'APPROVERS', 'WHY'],
      ...orgs.map(({ org, counts, approvers, required, why = '' }) => [
        org,
        counts ? 'counted' : 'not counted',
        `${approvers} of ${required}`,
        why,
      ]),
    ]),
    `${counted} counted, ${needed} needed`,
    ...lost.map(({ keyId, org, approver, sources, why }) => {
      const whose =
        keyId === undefined
          ? 'a signature'
          : `a signature by ${org}${approver ? `/${approver}` : ''}, key ${keyId.slice(0, 16)}…,`;
      return `${whose} in ${sources[0]} does not count: ${why}`;
    }),
  ]
    .map(line => line.split('\n').map(escapeControls).join('\n'))
    .join('\n');
}

export function verdictJson(file: string, { proposal, ...verdict }: Verdict): object {
  const { createdMs, notBeforeMs, notAfterMs, ...facts } = proposal;
  return {
    file,
    ...verdict,
    proposal: { ...facts, created: isoTime(createdMs), notBefore: isoTime(notBeforeMs), notAfter: isoTime(notAfterMs) },
  };
}
