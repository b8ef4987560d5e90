import { diffLines } from '../../text-diff.js';

/** One version of a project: its files by digest, and their text where they are text. */
export interface Version {
  readonly files: ReadonlyMap<string, string>;
  /** Undefined: it is no text, or too long to be compared. */
  text(path: string): Promise<string | undefined>;
}

/** Paths, sorted. */
export interface Changes {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
  readonly same: number;
}

/** The largest file that is compared line by line, bytes. */
export const MAX_TEXT_BYTES = 1024 * 1024;
/** After so many lines the rest of a diff is left out. */
const MAX_DIFF_LINES = 50_000;

export function compareVersions(before: Version, after: Version): Changes {
  const added: string[] = [];
  const changed: string[] = [];
  let same = 0;
  for (const [path, sha256] of after.files) {
    const earlier = before.files.get(path);
    if (earlier === undefined) added.push(path);
    else if (earlier === sha256) same++;
    else changed.push(path);
  }
  const removed = [...before.files.keys()].filter(path => !after.files.has(path));
  return { added: added.sort(), removed: removed.sort(), changed: changed.sort(), same };
}

/** A unified diff of all text that was changed or added. What it leaves out it says. */
export async function diffVersions(changes: Changes, before: Version, after: Version): Promise<string[]> {
  const lines: string[] = [];
  const paths = [...changes.changed, ...changes.added].sort();
  for (const [i, path] of paths.entries()) {
    if (lines.length >= MAX_DIFF_LINES) {
      lines.push(`(the diff is cut here: ${paths.length - i} more files)`);
      break;
    }
    lines.push(...(await diffFile(path, before, after)));
  }
  return lines;
}

async function diffFile(path: string, before: Version, after: Version): Promise<string[]> {
  const isNew = !before.files.has(path);
  const old = isNew ? '' : await before.text(path);
  const now = await after.text(path);
  const head = [`--- ${isNew ? '/dev/null' : `a/${path}`}`, `+++ b/${path}`];
  if (old === undefined || now === undefined) return [...head, '(not compared: no text, or too long)'];
  return [...head, ...diffLines(old, now)];
}

/** Undefined: no text. */
export function textOf(bytes: Buffer): string | undefined {
  if (bytes.length > MAX_TEXT_BYTES || bytes.includes(0)) return undefined;
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? text : undefined;
}
