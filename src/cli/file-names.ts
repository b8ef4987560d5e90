import { fieldError, quoted } from '../errors.js';

/** Names that others chose, and that are to become names of files here. */

const MAX_NAME_BYTES = 255;
const MAX_PATH_BYTES = 4_096;
const MAX_SEGMENTS = 64;

/** Names that are devices on Windows, whatever stands behind the first dot. */
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)/i;

/** Why a name cannot be that of a file on any system; undefined when it can. */
export function nameProblem(name: string): string | undefined {
  if (name === '') return 'is empty';
  if (name === '.' || name === '..') return 'is a folder of every folder';
  if (/[/\\:]/.test(name)) return 'holds a separator';
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\ufffd]/u.test(name)) return 'holds characters that do not show';
  if (/[. ]$/.test(name)) return 'ends with a dot or a space';
  if (DEVICE.test(name)) return 'is the name of a device';
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `is longer than ${MAX_NAME_BYTES} bytes`;
  return undefined;
}

/** Why a relative path, its names split by `/`, cannot be that of a file; undefined when it can. */
export function pathProblem(path: string): string | undefined {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  const names = path.split('/');
  if (names.length > MAX_SEGMENTS) return `is deeper than ${MAX_SEGMENTS} folders`;
  for (const name of names) {
    const problem = nameProblem(name);
    if (problem) return names.length === 1 ? problem : `has a part that ${problem}`;
  }
  return undefined;
}

/**
 * Throws FIELD_INVALID, naming `field`, unless all paths can be those of files in one folder, on any system: two that differ in case or in how accents
 * are written are one file on some, and what is a file cannot be a folder too.
 */
export function checkPaths(paths: readonly string[], field = 'path'): void {
  const files = new Map<string, string>();
  const folders = new Map<string, string>();
  for (const path of paths) {
    const problem = pathProblem(path);
    if (problem) throw fieldError(field, `${quoted(path)} ${problem}`);
    const key = sameness(path);
    const twin = files.get(key) ?? folders.get(key);
    if (twin !== undefined) throw fieldError(field, `${quoted(path)} and ${quoted(twin)} are the same on some systems`);
    files.set(key, path);
    for (const folder of foldersOf(path)) {
      const folderKey = sameness(folder);
      const known = files.get(folderKey) ?? folders.get(folderKey);
      if (known !== undefined && known !== folder)
        throw fieldError(field, `${quoted(folder)} and ${quoted(known)} are the same on some systems`);
      if (files.has(folderKey)) throw fieldError(field, `${quoted(folder)} is a file and a folder`);
      folders.set(folderKey, folder);
    }
  }
}

/** The folders that a path leads through, outermost first. */
export function foldersOf(path: string): string[] {
  const names = path.split('/');
  return names.slice(1).map((_, i) => names.slice(0, i + 1).join('/'));
}

const sameness = (path: string): string => path.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC');
