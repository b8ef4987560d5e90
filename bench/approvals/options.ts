import { parseArgs } from 'node:util';
import { parseNames } from '../options.js';

/** What is measured. */
export const PARTS = ['verify', 'list', 'listing', 'round'] as const;
export type PartName = (typeof PARTS)[number];

export interface ApprovalsOptions {
  readonly parts: readonly PartName[];
  /** How often each is measured, one after another: processes that verify, lists, proposals until they are approved. */
  readonly runs: number;
  /** Where the numbers go too. */
  readonly json: string | undefined;
}

export const APPROVALS_USAGE = `npm run bench -- approvals [--parts ${PARTS.join(',')}] [--runs COUNT] [--json FILE]`;

/** Throws with a sentence for the user. */
export function parseApprovalsOptions(args: readonly string[]): ApprovalsOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      parts: { type: 'string', default: PARTS.join(',') },
      runs: { type: 'string', default: '21' },
      json: { type: 'string' },
    },
  });
  const runs = Number(values.runs);
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error('--runs: expected how many');
  return { parts: parseNames('--parts', values.parts, PARTS), runs, json: values.json };
}
