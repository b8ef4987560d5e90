import type { CheckedStatement } from '../../../client/approvals/ballot.js';
import type { FedgateClient, Proposal } from '../../../client/index.js';
import { describe, FedgateError } from '../../../errors.js';
import { escapeControls } from '../../../text.js';
import { formatCount, plural } from '../../counts.js';
import type { CliEnv } from '../../env.js';
import { type Changes, compareVersions, diffVersions, type Version } from './changes.js';
import type { ReviewFolder } from './folder.js';
import { approvedVersion, proposedVersion } from './versions.js';

/** What is new in a proposal. */
export interface ChangeReport {
  /** The version that it is compared with. Undefined: none was approved before. */
  readonly since: Proposal | undefined;
  readonly changes: Changes;
  /** A unified diff, safe to show. */
  readonly diff: readonly string[];
  /** Why there is no comparison, or not of all. */
  readonly problem: string | undefined;
}

const NOTHING: Version = { files: new Map(), text: () => Promise.resolve(undefined) };
const NO_CHANGES: Changes = { added: [], removed: [], changed: [], same: 0 };

/** Compares with the last approved version of the project. What of that cannot be fetched any more is said, and no reason to fail. */
export async function reportChanges(
  env: CliEnv,
  client: FedgateClient,
  proposal: Proposal,
  checked: CheckedStatement,
  folder: ReviewFolder,
): Promise<ChangeReport> {
  const proposed = await proposedVersion(checked, folder);
  const { previousApprovedId } = proposal;
  if (previousApprovedId === undefined)
    return { since: undefined, changes: compareVersions(NOTHING, proposed), diff: [], problem: undefined };
  let report: ChangeReport = { since: undefined, changes: NO_CHANGES, diff: [], problem: undefined };
  try {
    const since = await client.approvals.get(previousApprovedId);
    report = { ...report, since };
    const before = await approvedVersion(env, client, since, checked);
    report = { ...report, changes: compareVersions(before, proposed) };
    const diff = await diffVersions(report.changes, before, proposed);
    return { ...report, diff: diff.map(escapeControls) };
  } catch (error) {
    if (!(error instanceof FedgateError) || env.signal.aborted) throw error;
    return { ...report, problem: `the version before cannot be compared: ${describe(error)} [${error.reason}]` };
  }
}

/** Lines of a list of files that are shown. */
const MAX_SHOWN_FILES = 200;

export function describeChanges({ since, changes, problem }: ChangeReport): string {
  const { added, removed, changed, same } = changes;
  const files = [
    ...changed.map(path => `  changed  ${escapeControls(path)}`),
    ...added.map(path => `  added    ${escapeControls(path)}`),
    ...removed.map(path => `  removed  ${escapeControls(path)}`),
  ];
  const total = plural(added.length, 'file');
  const counts = `${formatCount(changed.length)} changed, ${formatCount(added.length)} added, ${formatCount(removed.length)} removed, ${formatCount(same)} the same`;
  const heading = since
    ? `since ${since.version}, the last that was approved (${since.id}): ${counts}`
    : `nothing of this project was approved before, all of it is new: ${total}`;
  const more = files.length - MAX_SHOWN_FILES;
  return [
    ...(problem !== undefined && files.length === 0 ? [] : [heading]),
    ...files.slice(0, MAX_SHOWN_FILES),
    ...(more > 0 ? [`  and ${formatCount(more)} more`] : []),
    ...(problem === undefined ? [] : [escapeControls(problem)]),
  ].join('\n');
}
