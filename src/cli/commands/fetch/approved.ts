import type { Command } from 'commander';
import { type BundleInput, MAX_BUNDLE_BYTES } from '../../../approvals/verify/evidence.js';
import { readWholeFile } from '../../../approvals/verify/measure.js';
import { Memory } from '../../../approvals/verify/memory.js';
import { type Policy, readPolicy } from '../../../approvals/verify/policy.js';
import { demandApproved, verifyContent } from '../../../approvals/verify/verify.js';
import type { FedgateClient } from '../../../client/index.js';
import { FedgateError, fieldError, quoted } from '../../../errors.js';
import type { CliEnv } from '../../env.js';
import { collect } from '../../options.js';
import { statePath } from '../verify.js';

export interface ApprovalOptions {
  readonly requireApproved?: boolean;
  readonly policy?: string;
  readonly bundle?: readonly string[];
  readonly project?: string;
  readonly artifactVersion?: string;
  /** False: --no-state. */
  readonly state?: string | boolean;
}

export const withApprovalOptions = (command: Command): Command =>
  command
    .option('--require-approved', 'only what is approved by the policy; anything else is refused, and leaves no file')
    .option('--policy <file>', 'with --require-approved: whom you trust; `fedgate policy init` makes one')
    .option(
      '--bundle <file>',
      "with --require-approved: a bundle of the approval, may be repeated (default: the own gateway's)",
      collect,
    )
    .option('--project <org/project>', 'with --require-approved: it must be one of this project')
    .option('--artifact-version <version>', 'with --require-approved: it must be this version')
    .option(
      '--state <file>',
      'with --require-approved: where to remember what was verified, so that nothing older is taken for new',
    )
    .option('--no-state', 'with --require-approved: remember nothing');

/** What is fetched must be approved, as the user's own policy says. */
export class ApprovalDemand {
  readonly #client: FedgateClient;
  readonly #policy: Policy;
  readonly #memory: Memory | undefined;
  /** Undefined: the own gateway is asked. */
  readonly #bundles: readonly BundleInput[] | undefined;
  readonly #expected: { readonly project: string | undefined; readonly version: string | undefined };

  private constructor(
    client: FedgateClient,
    policy: Policy,
    memory: Memory | undefined,
    bundles: readonly BundleInput[] | undefined,
    { project, artifactVersion: version }: ApprovalOptions,
  ) {
    this.#client = client;
    this.#policy = policy;
    this.#memory = memory;
    this.#bundles = bundles;
    this.#expected = { project, version };
  }

  /**
   * Undefined: nothing was demanded. Throws POLICY_INVALID when there is no good policy, FILE_UNUSABLE, and FIELD_INVALID for options that
   * would do nothing.
   */
  static async open(env: CliEnv, client: FedgateClient, options: ApprovalOptions): Promise<ApprovalDemand | undefined> {
    const { requireApproved, policy, bundle, state } = options;
    if (!requireApproved) return checkUnused(options);
    if (policy === undefined)
      throw new FedgateError('POLICY_INVALID', '--policy is missing: nothing is verified without a policy of your own');
    const read = await readPolicy(policy);
    const memory = state === false ? undefined : await Memory.open(statePath(env, state ?? true));
    return new ApprovalDemand(client, read, memory, await readBundles(bundle), options);
  }

  /** Throws NOT_APPROVED, saying who counted and who did not; BUNDLE_INVALID, POLICY_INVALID. */
  async check(
    { size, sha256 }: { readonly size: number; readonly sha256: string },
    what: string,
    kind?: 'package',
  ): Promise<void> {
    const verdict = await verifyContent(
      { size, sha256 },
      {
        bundles: this.#bundles ?? (await this.#ownBundles(sha256, what)),
        policy: this.#policy,
        memory: this.#memory,
        nowMs: Date.now(),
        expected: this.#expected,
      },
    );
    demandApproved(verdict, quoted(what));
    if (kind && verdict.proposal.artifact.kind !== kind)
      throw new FedgateError(
        'NOT_APPROVED',
        `${quoted(what)} is not approved: approved is a list of checksums as a file, not the package`,
      );
  }

  async #ownBundles(sha256: string, what: string): Promise<readonly BundleInput[]> {
    try {
      return [{ name: "the own gateway's bundle", content: (await this.#client.approvals.bundle({ sha256 })).dsse }];
    } catch (cause) {
      if (!(cause instanceof FedgateError) || !UNAPPROVED.has(cause.reason)) throw cause;
      throw new FedgateError(
        'NOT_APPROVED',
        `${quoted(what)} is not approved: the own gateway knows no approval of something with the SHA-256 ${sha256}; --bundle gives one`,
        { cause },
      );
    }
  }
}

const UNAPPROVED: ReadonlySet<FedgateError['reason']> = new Set(['PROPOSAL_UNKNOWN', 'NOT_APPROVED']);

const readBundles = async (paths: readonly string[] | undefined): Promise<readonly BundleInput[] | undefined> =>
  paths && Promise.all(paths.map(async name => ({ name, content: await readWholeFile(name, MAX_BUNDLE_BYTES) })));

/** An option that would do nothing looks as if it did. */
function checkUnused({ policy, bundle, project, artifactVersion, state }: ApprovalOptions): undefined {
  const given = Object.entries({ policy, bundle, project, 'artifact-version': artifactVersion });
  const unused =
    given.find(([, value]) => value !== undefined)?.[0] ??
    (state === undefined || state === true ? undefined : 'state');
  if (unused !== undefined) throw fieldError(`--${unused}`, 'needs --require-approved');
}
