import { writeFile } from 'node:fs/promises';
import { environment, environmentLine } from '../environment.js';
import { type Goal, goalRow } from '../goals.js';
import { formatTable } from '../table.js';
import { measureList } from './list.js';
import { measureListing } from './listing.js';
import type { ApprovalsOptions, PartName } from './options.js';
import { measureRound } from './round.js';
import { measureVerify } from './verify.js';

/** What one part found out: numbers for people, and those that something is promised of. */
export interface PartReport {
  readonly rows: readonly (readonly string[])[];
  readonly goals: readonly Goal[];
}

const MEASURES: { readonly [part in PartName]: (options: ApprovalsOptions) => Promise<PartReport> } = {
  verify: measureVerify,
  list: measureList,
  listing: measureListing,
  round: measureRound,
};

/** `npm run bench -- approvals`: the parts one after another. */
export async function runApprovals(options: ApprovalsOptions): Promise<void> {
  const before = environment();
  console.log(environmentLine(before));
  const reports: Partial<Record<PartName, PartReport>> = {};
  for (const part of options.parts) {
    const report = await MEASURES[part](options);
    reports[part] = report;
    console.log(`\n${formatTable(report.rows)}\n\n${formatTable(report.goals.map(goalRow))}`);
  }
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify({ environment: before, reports }, undefined, 2)}\n`);
  }
}
