import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { describe, FedgateError } from '../../errors.js';
import { parseChecksumList } from '../checksum-list.js';
import { MAX_LIST_BYTES } from '../statement/rules.js';
import { statementSha256 } from '../statement/statement.js';
import type { Artifact, ProposalFacts } from '../types.js';
import {
  artifactProblems,
  checkPolicyInUse,
  type Expectations,
  proposalProblems,
  quorumProblems,
  timeProblems,
} from './checks.js';
import { countSignatures, type OrgVerdict, type SignatureVerdict } from './count.js';
import { type BundleInput, readEvidence } from './evidence.js';
import { type Measured, measureFile, readWholeFile } from './measure.js';
import type { Memory } from './memory.js';
import { checkPackageFolder } from './package-folder.js';
import type { Policy } from './policy.js';

/**
 * Judges offline whether an artifact is approved: by bundles of its approval and the policy of whoever asks, and nothing else. The network is
 * not asked, no key is believed that the policy does not name.
 */
export interface VerifyOptions {
  /** Of one approval, in any of the three forms, one or several. */
  readonly bundles: readonly BundleInput[];
  readonly policy: Policy;
  /** What was seen before. Undefined: an old policy, an old release and a wrong clock are not noticed. */
  readonly memory: Memory | undefined;
  readonly nowMs: number;
  readonly expected?: Expectations;
  /** Told how many bytes of the file were read by now. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export interface Verdict {
  readonly approved: boolean;
  /** Why not; empty when it is. */
  readonly problems: readonly string[];
  readonly proposal: ProposalFacts;
  readonly statementSha256: string;
  /** Organisations that count, and how many must. */
  readonly counted: number;
  readonly needed: number;
  /** All of the policy and of the proposal, sorted. */
  readonly orgs: readonly OrgVerdict[];
  readonly signatures: readonly SignatureVerdict[];
}

/**
 * A file, or the folder of a package with its checksum list (`list`; otherwise a file beside the folder with the name of the artifact). Rejects
 * with BUNDLE_INVALID, STATEMENT_INVALID, POLICY_INVALID, FILE_UNUSABLE, FILE_CHANGED; what is only not approved is a verdict.
 */
export async function verifyFile(
  path: string,
  options: VerifyOptions & { readonly list?: string | undefined },
): Promise<Verdict> {
  return await verify(options, async artifact => {
    if (await isFolder(path)) return await measurePackage(path, options.list, artifact);
    if (options.list !== undefined) throw new FedgateError('FILE_UNUSABLE', `${path}: a list is for a folder`);
    return artifactProblems(artifact, await measureFile(path, artifact.size, { onProgress: options.onProgress }));
  });
}

/** What somebody else has measured, before it is fetched or while it is. Rejects as `verifyFile`. */
export async function verifyContent(content: Required<Measured>, options: VerifyOptions): Promise<Verdict> {
  return await verify(options, async artifact => artifactProblems(artifact, content));
}

/** Throws NOT_APPROVED with everything that a verdict says against it. */
export function demandApproved(verdict: Verdict, what: string): void {
  if (verdict.approved) return;
  throw new FedgateError('NOT_APPROVED', `${what} is not approved: ${verdict.problems.join('; ')}`);
}

async function verify(
  { bundles, policy, memory, nowMs, expected }: VerifyOptions,
  check: (artifact: Artifact) => Promise<readonly string[]>,
): Promise<Verdict> {
  const remembered = memory?.of(policy.name);
  checkPolicyInUse(policy, remembered, nowMs);
  const evidence = readEvidence(bundles);
  const { proposal } = evidence;
  const digest = statementSha256(evidence.statement);
  const count = countSignatures(evidence, policy);
  const problems = [
    ...(await check(proposal.artifact)),
    ...proposalProblems(proposal, digest, policy, remembered, expected),
    ...timeProblems(proposal, policy, remembered, nowMs),
    ...quorumProblems(proposal, policy, count.orgs),
  ];
  const approved = problems.length === 0;
  await memory?.add(
    policy,
    approved ? { proposal, statementSha256: digest, seenMs: seenMs(proposal, nowMs) } : undefined,
  );
  return {
    approved,
    problems,
    proposal,
    statementSha256: digest,
    counted: count.orgs.filter(({ counts }) => counts).length,
    needed: Math.max(policy.threshold, proposal.threshold),
    ...count,
  };
}

/** The own clock is believed while it is within the time of an approved proposal; beyond that only that the proposal had been made. */
const seenMs = ({ createdMs, notAfterMs }: ProposalFacts, nowMs: number): number =>
  nowMs <= notAfterMs ? Math.max(nowMs, createdMs) : createdMs;

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${path}: ${describe(cause)}`, { cause });
  }
}

async function measurePackage(
  folder: string,
  list: string | undefined,
  artifact: Artifact,
): Promise<readonly string[]> {
  if (artifact.kind !== 'package') return [`${folder} is a folder; approved is a file`];
  const path = list ?? join(dirname(resolve(folder)), artifact.name);
  // Read once: what is checked is what is used.
  const bytes = await readWholeFile(path, MAX_LIST_BYTES);
  const measured = { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  const problems = artifactProblems(artifact, measured).map(problem => `the list ${path}: ${problem}`);
  return problems.length > 0 ? problems : await checkPackageFolder(folder, parseChecksumList(bytes));
}
