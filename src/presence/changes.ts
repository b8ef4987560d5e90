import type { NodePresence, NodeSource } from './types.js';

/** Nodes told in one frame. */
export const MAX_NODES_A_FRAME = 500;
/** How long changes are gathered before they are told, milliseconds. */
export const GATHER_MS = 100;

/** Where a watcher is told. */
export interface ChangesSink {
  /** Whether it takes a frame now; when it does again, `resume` is to be called. */
  readonly writable: boolean;
  /** `complete`: from here on it has been told of every node. */
  put(nodes: readonly NodePresence[], complete: boolean): void;
}

/**
 * Tells one watcher of all nodes that it may see, and then of each change.
 *
 * What is not told yet is a set of names, and a node is told as it is when its turn comes: however fast nodes come and go, and however slow
 * the watcher is, that is at most one entry for each, and a frame at most every GATHER_MS.
 */
export class NodeChanges {
  readonly #source: NodeSource;
  readonly #sees: (node: string) => boolean;
  readonly #sink: ChangesSink;
  readonly #gatherMs: number;
  readonly #untold = new Set<string>();
  readonly #off: () => void;
  #complete = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: NodeSource, sees: (node: string) => boolean, sink: ChangesSink, gatherMs = GATHER_MS) {
    this.#source = source;
    this.#sees = sees;
    this.#sink = sink;
    this.#gatherMs = gatherMs;
    for (const node of source.names()) if (sees(node)) this.#untold.add(node);
    this.#off = source.onChange(node => this.#changed(node));
    this.#tell();
  }

  /** The sink takes frames again. */
  resume(): void {
    if (this.#timer === undefined) this.#tell();
  }

  close(): void {
    this.#off();
    clearTimeout(this.#timer);
  }

  #changed(node: string): void {
    if (!this.#sees(node)) return;
    this.#untold.add(node);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tell();
    }, this.#gatherMs);
  }

  #tell(): void {
    while (this.#sink.writable && (this.#untold.size > 0 || !this.#complete)) {
      const nodes: NodePresence[] = [];
      for (const name of this.#untold) {
        if (nodes.length >= MAX_NODES_A_FRAME) break;
        this.#untold.delete(name);
        const node = this.#source.get(name);
        if (node) nodes.push(node);
      }
      this.#complete ||= this.#untold.size === 0;
      this.#sink.put(nodes, this.#complete);
    }
  }
}
