import { stat } from 'node:fs/promises';
import { isNodeRevoked, type RevokedNodes, readRevokedNodes } from '../identity/revoked-nodes.js';
import type { Leaf } from '../identity/verify.js';
import type { Log } from '../telemetry/log.js';

/** How often the file is looked at, milliseconds. */
const LOOK_MS = 1_000;

/** What a gateway knows of revoked certificates of its nodes: a file that may change while it runs. */
export class NodeRevocations {
  readonly #path: string;
  readonly #log: Log;
  #list: RevokedNodes;
  /** Which state of the file that is. */
  #state: string;
  #timer: NodeJS.Timeout | undefined;

  private constructor(path: string, log: Log, list: RevokedNodes, state: string) {
    this.#path = path;
    this.#log = log;
    this.#list = list;
    this.#state = state;
  }

  /** Throws FILE_UNUSABLE: a gateway that cannot tell who is revoked does not start. */
  static async open(path: string, log: Log): Promise<NodeRevocations> {
    const state = await stateOf(path);
    return new NodeRevocations(path, log, await readRevokedNodes(path), state);
  }

  isRevoked(leaf: Leaf): boolean {
    return isNodeRevoked(this.#list, leaf);
  }

  /** Looks at the file from now on; `onChange` hears when it says something else. */
  watch(onChange: () => void): void {
    const look = async (): Promise<void> => {
      await this.#look(onChange);
      if (this.#timer) this.#timer = setTimeout(look, LOOK_MS);
    };
    this.#timer = setTimeout(look, LOOK_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(onChange: () => void): Promise<void> {
    // What it is in is asked before what is in it: a change in between is seen the next time.
    const state = await stateOf(this.#path);
    if (state === this.#state) return;
    this.#state = state;
    try {
      this.#list = await readRevokedNodes(this.#path);
    } catch (error) {
      this.#log.error({ err: error }, 'revoked certificates are not read again; those known stay revoked');
      return;
    }
    const { nodes, keys } = this.#list;
    this.#log.info({ nodes: nodes.size, keys: keys.size }, 'revoked certificates read again');
    onChange();
  }
}

/** Another text for every file that was put there. */
async function stateOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unreadable';
  }
}
