import { FedgateError, quoted } from '../../errors.js';
import type { Artifact, ProposalFacts } from '../types.js';
import type { OrgVerdict } from './count.js';
import type { Measured } from './measure.js';
import { projectKey, type Remembered } from './memory.js';
import type { Policy } from './policy.js';

/** What whoever verifies wants to have. */
export interface Expectations {
  /** `ORG/project`. */
  readonly project?: string | undefined;
  readonly version?: string | undefined;
  /** 16 bytes, hexadecimal. */
  readonly proposalId?: string | undefined;
}

/** How far clocks may be apart. */
const GRACE_MS = 60_000;

const iso = (ms: number): string => new Date(ms).toISOString();

/** Throws POLICY_INVALID for a policy that is over, older than one that was used before, or another under the same version. */
export function checkPolicyInUse(policy: Policy, remembered: Remembered | undefined, nowMs: number): void {
  const { name, version, fingerprint, expiresMs } = policy;
  const invalid = (what: string) => new FedgateError('POLICY_INVALID', `the policy ${name} ${what}`);
  if (remembered && version < remembered.version) {
    throw invalid(`has version ${version}, and version ${remembered.version} was used before`);
  }
  if (remembered && version === remembered.version && fingerprint !== remembered.fingerprint) {
    throw invalid(`says something else than before under the same version ${version}: every change needs a higher one`);
  }
  if (expiresMs !== undefined && nowMs >= expiresMs) throw invalid(`expired at ${iso(expiresMs)}`);
}

/** Size first: what has another one is not read. */
export function artifactProblems(artifact: Artifact, { size, sha256 }: Measured): readonly string[] {
  if (size !== artifact.size) return [`it has ${size} bytes; approved is something of ${artifact.size} bytes`];
  if (sha256 !== artifact.sha256) return [`its SHA-256 is ${sha256}; approved is ${artifact.sha256}`];
  return [];
}

export function proposalProblems(
  proposal: ProposalFacts,
  statementSha256: string,
  policy: Policy,
  remembered: Remembered | undefined,
  expected: Expectations = {},
): readonly string[] {
  const problems: string[] = [];
  const project = `${proposal.proposer}/${proposal.project}`;
  const wanted = (what: string, is: string, want: string | undefined): void => {
    if (want !== undefined && is !== want) problems.push(`approved is ${what} ${is}, not ${quoted(want)}`);
  };
  wanted('the project', project, expected.project);
  wanted('version', proposal.version, expected.version);
  wanted('the proposal', proposal.id, expected.proposalId);
  wanted('something of the federation', proposal.federation, policy.federation);
  if (policy.projects && !policy.projects.includes(project))
    problems.push(`the policy is not for the project ${project}`);
  const least = policy.minSequence[project] ?? 1;
  if (proposal.sequence < least) {
    problems.push(`it is number ${proposal.sequence} of ${project}; the policy takes ${least} and later ones`);
  }
  const newest = remembered?.projects[projectKey(proposal)];
  if (newest && proposal.sequence < newest.sequence) {
    problems.push(
      `it is number ${proposal.sequence} of ${project}; number ${newest.sequence} was verified before: an older release`,
    );
  }
  if (newest && proposal.sequence === newest.sequence && statementSha256 !== newest.statement) {
    problems.push(
      `another proposal was verified before as number ${proposal.sequence} of ${project}: one of them is a lie`,
    );
  }
  return problems;
}

export function timeProblems(
  { createdMs, notBeforeMs, notAfterMs }: ProposalFacts,
  policy: Policy,
  remembered: Remembered | undefined,
  nowMs: number,
): readonly string[] {
  const known = Math.max(remembered?.seenMs ?? 0, policy.createdMs ?? 0, createdMs);
  // Whatever else would be said about time would be guessed.
  if (nowMs + GRACE_MS < known) {
    return [`the clock says ${iso(nowMs)}, and it was ${iso(known)} already: nothing can be judged by it`];
  }
  const problems: string[] = [];
  if (nowMs + GRACE_MS < notBeforeMs) problems.push(`it is approved from ${iso(notBeforeMs)} on`);
  if (nowMs - GRACE_MS > notAfterMs && !policy.acceptExpired) {
    problems.push(`its time was over at ${iso(notAfterMs)}, and nothing proves that it was approved before`);
  }
  if (policy.maxAgeMs !== undefined && nowMs - createdMs > policy.maxAgeMs) {
    problems.push(`it was proposed at ${iso(createdMs)}, which is longer ago than the policy allows`);
  }
  return problems;
}

/** Both must hold: what the proposal demands, and what the policy demands. */
export function quorumProblems(
  proposal: ProposalFacts,
  policy: Policy,
  orgs: readonly OrgVerdict[],
): readonly string[] {
  const counted = orgs.filter(({ counts }) => counts).map(({ org }) => org);
  const needed = Math.max(proposal.threshold, policy.threshold);
  const whose = policy.threshold >= proposal.threshold ? 'policy' : 'proposal';
  return [
    ...(counted.length < needed
      ? [`${counted.length} of the ${needed} organisations that the ${whose} demands have approved it`]
      : []),
    ...policy.require
      .filter(org => !counted.includes(org))
      .map(org => `the policy demands ${org}, which does not count`),
  ];
}
