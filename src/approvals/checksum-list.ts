import { FedgateError, quoted } from '../errors.js';
import { escapeControls } from '../text.js';
import { decodeUtf8 } from './statement/json.js';
import { MAX_LIST_BYTES } from './statement/rules.js';

/**
 * The artifact of a package of files: their checksums as text, exactly as `sha256sum` writes it, so that `sha256sum -c` checks it anywhere. It is
 * sorted and has one form: the same files are the same list, whoever makes it.
 */
export interface ListedChecksum {
  /** Relative, its names split by `/`. */
  readonly path: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** The most files of a package. */
export const MAX_PACKAGE_FILES = 100_000;
const MAX_PATH_BYTES = 4_096;

const LINE = /^([0-9a-f]{64}) {2}(.+)$/s;

/** In any order. Throws FILE_UNUSABLE for a path that cannot stand in a list, for one that is there twice, and when there are none or too many. */
export function encodeChecksumList(files: readonly ListedChecksum[]): Buffer {
  const sorted = files
    .map(file => ({ file, bytes: Buffer.from(file.path) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ file }) => file);
  checkFiles(sorted);
  const bytes = Buffer.from(sorted.map(({ path, sha256 }) => `${sha256}  ${path}\n`).join(''));
  if (bytes.length > MAX_LIST_BYTES) throw invalid(`it is longer than ${MAX_LIST_BYTES} bytes`);
  return bytes;
}

/** Throws FILE_UNUSABLE for everything that `encodeChecksumList` would not have written. */
export function parseChecksumList(bytes: Uint8Array): readonly ListedChecksum[] {
  if (bytes.length > MAX_LIST_BYTES) throw invalid(`it is longer than ${MAX_LIST_BYTES} bytes`);
  const lines = readText(bytes).split('\n');
  if (lines.pop() !== '') throw invalid('its last line has no end');
  if (lines.length > MAX_PACKAGE_FILES) throw invalid(`it has more than ${MAX_PACKAGE_FILES} files`);
  const files = lines.map((line, i) => {
    const [, sha256, path] = LINE.exec(line) ?? [];
    if (sha256 === undefined || path === undefined) throw invalid(`line ${i + 1} is not "SHA-256  path"`);
    return { path, sha256 };
  });
  checkFiles(files);
  return files;
}

function readText(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes);
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', 'not a checksum list: it is not UTF-8', { cause });
  }
}

/** In the order of the bytes of their paths. */
function checkFiles(files: readonly ListedChecksum[]): void {
  if (files.length === 0) throw invalid('it names no file');
  if (files.length > MAX_PACKAGE_FILES) throw invalid(`it has more than ${MAX_PACKAGE_FILES} files`);
  const paths = new Set<string>();
  let before = Buffer.alloc(0);
  for (const { path, sha256 } of files) {
    const problem = problemOf(path);
    if (problem) throw invalid(`${quoted(path)} ${problem}`);
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw invalid(`the digest of ${quoted(path)} is not SHA-256`);
    const bytes = Buffer.from(path);
    if (Buffer.compare(before, bytes) >= 0) throw invalid(`${quoted(path)} is there twice, or not in order`);
    before = bytes;
    paths.add(path);
  }
  for (const { path } of files) checkFolders(path, paths);
}

function problemOf(path: string): string | undefined {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  // sha256sum would write these in another form, and no two programs show them alike.
  if (/[\\\t\p{Cs}\ufffd]/u.test(path) || escapeControls(path) !== path) return 'holds characters that it may not';
  // To sha256sum this is its standard input.
  if (path === '-') return 'is no name of a file';
  if (path.split('/').some(name => name === '' || name === '.' || name === '..'))
    return 'is not a relative path in its one form';
  return undefined;
}

function checkFolders(path: string, paths: ReadonlySet<string>): void {
  for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) {
    if (paths.has(path.slice(0, end))) throw invalid(`${quoted(path.slice(0, end))} is a file and a folder`);
  }
}

const invalid = (what: string): FedgateError => new FedgateError('FILE_UNUSABLE', `not a checksum list: ${what}`);
