import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../identity/files.js';
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

/** The file in which a gateway remembers its nodes. Nothing depends on it but what is told of those that are away. */
export class RememberedNodes {
  readonly #path: string;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(stateFolder: string) {
    this.#path = join(stateFolder, 'nodes.json');
  }

  /** A missing or damaged file is an empty one. */
  async load(): Promise<Remembered[]> {
    const list: unknown = await readFile(this.#path, 'utf8')
      .then(JSON.parse)
      .catch(() => []);
    return Array.isArray(list) ? list.filter(isRemembered) : [];
  }

  /** Writes soon, all that has changed until then at once. */
  changed(all: () => readonly Remembered[]): void {
    this.#timer ??= setTimeout(() => void this.flush(all), WRITE_AFTER_MS).unref();
  }

  /** A disk that takes nothing costs what was to be remembered, and nothing else. */
  flush(all: () => readonly Remembered[]): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing
      .then(() => writeFileAtomically(this.#path, JSON.stringify(all())))
      .catch(() => undefined);
    return this.#writing;
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
