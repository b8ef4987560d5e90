import type { NodePresence, NodeSource } from './types.js';

/** Nodes told in one frame. */
export const MAX_NODES_A_FRAME = 500;
/** Bytes of patterns in one frame, unless a single node has more. */
export const MAX_PATTERN_BYTES_A_FRAME = 256 * 1024;
/** How long changes are gathered before they are told, milliseconds. */
export const GATHER_MS = 100;

/** What a watcher may know. */
export interface Sight {
  node(node: string): boolean;
  /** Whether it may know that a node answers on a pattern. */
  pattern(pattern: string): boolean;
}

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
 * the watcher is, that is at most one entry for each, and a frame at most every GATHER_MS. The first change after a while of quiet is told at once.
 */
export class NodeChanges {
  readonly #source: NodeSource;
  readonly #sight: Sight;
  readonly #sink: ChangesSink;
  readonly #gatherMs: number;
  readonly #untold = new Set<string>();
  readonly #off: () => void;
  #complete = false;
  #timer: NodeJS.Timeout | undefined;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(source: NodeSource, sight: Sight, sink: ChangesSink, gatherMs = GATHER_MS) {
    this.#source = source;
    this.#sight = sight;
    this.#sink = sink;
    this.#gatherMs = gatherMs;
    for (const node of source.names()) if (sight.node(node)) this.#untold.add(node);
    this.#off = source.onChange((node, pattern) => this.#changed(node, pattern));
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

  #changed(node: string, pattern: string | undefined): void {
    if (!this.#sight.node(node) || (pattern !== undefined && !this.#sight.pattern(pattern))) return;
    this.#untold.add(node);
    const waitMs = Math.max(0, this.#toldMs + this.#gatherMs - performance.now());
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tell();
    }, waitMs);
  }

  #tell(): void {
    while (this.#sink.writable && (this.#untold.size > 0 || !this.#complete)) {
      this.#toldMs = performance.now();
      const nodes: NodePresence[] = [];
      let bytes = 0;
      for (const name of this.#untold) {
        if (nodes.length >= MAX_NODES_A_FRAME || bytes > MAX_PATTERN_BYTES_A_FRAME) break;
        this.#untold.delete(name);
        const node = this.#source.get(name);
        if (!node) continue;
        nodes.push(node);
        bytes += node.patterns.reduce((sum, { length }) => sum + length, 0);
      }
      this.#complete ||= this.#untold.size === 0;
      this.#sink.put(nodes, this.#complete);
    }
  }
}
