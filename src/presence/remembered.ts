import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Remembered } from './presence.js';
import type { NodePresence, Why } from './types.js';

/** How long changes are gathered before they are written, milliseconds. What a crash loses of them is told wrong by that much. */
export const WRITE_AFTER_MS = 5_000;

const STATES: ReadonlySet<unknown> = new Set<NodePresence['state']>(['connected', 'away', 'left']);
const WHYS: ReadonlySet<unknown> = new Set<Why | undefined>([
  undefined,
  'closed',
  'lost',
  'drained',
  'expired',
  'untrusted',
]);

/**
 * The file in which a gateway remembers its nodes, one on a line. Nothing depends on it but what is told of those that are away.
 *
 * It is made when the gateway starts and written in place from then on: a gateway that is about to stop makes no file in a folder that somebody
 * may be removing at that moment. A kill in the middle of a write leaves new lines before old ones, and one that is neither.
 */
export class RememberedNodes {
  readonly #path: string;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(stateFolder: string) {
    this.#path = join(stateFolder, 'nodes.jsonl');
  }

  /** A file that cannot be read is an empty one, and a line that cannot be is none. */
  async load(): Promise<Remembered[]> {
    await mkdir(dirname(this.#path), { recursive: true }).catch(() => undefined);
    const text = await readFile(this.#path, { encoding: 'utf8', flag: 'a+' }).catch(() => '');
    const known = new Map<string, Remembered>();
    for (const line of text.split('\n')) {
      const node = parseLine(line);
      if (node && !known.has(node.node)) known.set(node.node, node);
    }
    return [...known.values()];
  }

  /** Writes soon, all that has changed until then at once. */
  changed(all: () => readonly Remembered[]): void {
    this.#timer ??= setTimeout(() => void this.flush(all), WRITE_AFTER_MS).unref();
  }

  /** A disk that takes nothing costs what was to be remembered, and nothing else. */
  flush(all: () => readonly Remembered[]): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#write(all())).catch(() => undefined);
    return this.#writing;
  }

  async #write(nodes: readonly Remembered[]): Promise<void> {
    const bytes = Buffer.from(nodes.map(node => `${JSON.stringify(node)}\n`).join(''));
    const file = await open(this.#path, 'r+');
    try {
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten;
      await file.truncate(bytes.length);
      await file.datasync();
    } finally {
      await file.close();
    }
  }
}

function parseLine(line: string): Remembered | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRemembered(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRemembered(value: unknown): value is Remembered {
  if (typeof value !== 'object' || value === null) return false;
  const { node, state, sinceMs, why, notAfterMs } = value as Record<string, unknown>;
  return (
    typeof node === 'string' &&
    STATES.has(state) &&
    typeof sinceMs === 'number' &&
    WHYS.has(why) &&
    typeof notAfterMs === 'number'
  );
}
