import type { Credential, NodePresence, NodeSource, Why } from './types.js';

/** Nodes that are remembered. Beyond, the one that is gone for the longest time is forgotten. */
export const MAX_KNOWN_NODES = 10_000;
/** How long a node is remembered whose certificate no longer counts, milliseconds. */
export const KEEP_LEFT_MS = 30 * 86_400_000;

/** What outlives the process. */
export type Remembered = Pick<NodePresence, 'node' | 'state' | 'sinceMs' | 'why'> & { readonly notAfterMs: number };

interface Known {
  state: NodePresence['state'];
  sinceMs: number;
  why: Why | undefined;
  readonly connections: Set<Credential>;
  /** Live subscriptions of its inbox. */
  inboxes: number;
  /** The last certificate that it showed. Of an earlier process only its end is known. */
  credential: Pick<Credential, 'notAfterMs'> & Partial<Credential>;
}

/**
 * Which nodes of the own organisation are there.
 *
 * A node is connected while at least one connection to the node listener is open that was made with a certificate of its, whatever goes over it:
 * a program that only publishes now and then is there too. A connection whose other end is silent ends with its keep-alive.
 */
export class Presence implements NodeSource {
  readonly #now: () => number;
  readonly #nodes = new Map<string, Known>();
  readonly #listeners = new Set<(node: string, pattern?: string) => void>();
  /** Where nodes answer, and on how many streams. Of those only that answer anywhere. */
  readonly #roles = new Map<string, Map<string, number>>();
  #drained = false;

  /** `past`: what an earlier process knew. Who was connected when it died is away, since nobody knows when. */
  constructor(now: () => number, past: readonly Remembered[] = []) {
    this.#now = now;
    for (const { node, state, sinceMs, why, notAfterMs } of past.slice(0, MAX_KNOWN_NODES)) {
      const lost =
        state === 'connected' ? ({ state: 'away', sinceMs: now(), why: 'lost' } as const) : { state, sinceMs, why };
      this.#nodes.set(node, { ...lost, connections: new Set(), inboxes: 0, credential: { notAfterMs } });
    }
  }

  /** A connection was made. Returns what to call when it is over. */
  arrived(credential: Credential): (why: 'closed' | 'lost') => void {
    const { name } = credential;
    if (this.#drained) return () => undefined;
    const known = this.#nodes.get(name) ?? this.#admit(name, credential);
    if (!known) return () => undefined;
    known.credential = credential;
    known.connections.add(credential);
    if (known.state !== 'connected') this.#enter(name, known, 'connected', undefined);
    return why => {
      if (!known.connections.delete(credential)) return;
      if (known.connections.size === 0 && known.state === 'connected') this.#enter(name, known, 'away', why);
    };
  }

  /** A live subscription of a node's inbox was opened, +1, or ended, -1. */
  inbox(node: string, step: 1 | -1): void {
    const known = this.#nodes.get(node);
    if (!known) return;
    const before = known.inboxes > 0;
    known.inboxes += step;
    if (before !== known.inboxes > 0) this.#tell(node);
  }

  /** A node answers on a pattern from now on, on one more of its streams, +1, or does so no more, -1. */
  role(node: string, pattern: string, step: 1 | -1): void {
    const roles = this.#roles.get(node) ?? new Map<string, number>();
    const before = roles.get(pattern) ?? 0;
    const streams = before + step;
    if (streams > 0) roles.set(pattern, streams);
    else roles.delete(pattern);
    if (roles.size > 0) this.#roles.set(node, roles);
    else this.#roles.delete(node);
    if (before > 0 !== streams > 0 && this.#nodes.has(node)) this.#tell(node, pattern);
  }

  /** Looks whether certificates still count: they end without anybody doing anything. */
  recheck(): void {
    for (const [node, known] of this.#nodes) {
      for (const connection of known.connections) if (!connection.good()) known.connections.delete(connection);
      if (known.state === 'left') {
        if (this.#now() - known.sinceMs > KEEP_LEFT_MS) this.#nodes.delete(node);
      } else if (known.connections.size === 0) this.#recheckGone(node, known);
    }
  }

  /** The gateway stops: whoever is connected is away from now on, for that reason. */
  drain(): void {
    this.#drained = true;
    for (const [node, known] of this.#nodes) {
      known.connections.clear();
      if (known.state === 'connected') this.#enter(node, known, 'away', 'drained');
    }
  }

  names(): Iterable<string> {
    return this.#nodes.keys();
  }

  get(node: string): NodePresence | undefined {
    const known = this.#nodes.get(node);
    if (!known) return undefined;
    const { state, sinceMs, why, inboxes } = known;
    const patterns = [...(this.#roles.get(node)?.keys() ?? [])];
    return { node, state, sinceMs, why, inbox: inboxes > 0, patterns, patternsCut: false };
  }

  onChange(listener: (node: string, pattern?: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  remembered(): Remembered[] {
    return [...this.#nodes].map(([node, { state, sinceMs, why, credential }]) => ({
      node,
      state,
      sinceMs,
      why,
      notAfterMs: credential.notAfterMs,
    }));
  }

  #admit(node: string, credential: Credential): Known | undefined {
    if (this.#nodes.size >= MAX_KNOWN_NODES && !this.#forgetOne()) return undefined;
    const known: Known = { state: 'away', sinceMs: 0, why: undefined, connections: new Set(), inboxes: 0, credential };
    this.#nodes.set(node, known);
    return known;
  }

  #forgetOne(): boolean {
    let oldest: string | undefined;
    let sinceMs = Number.POSITIVE_INFINITY;
    for (const [node, known] of this.#nodes) {
      if (known.state === 'connected' || known.sinceMs >= sinceMs) continue;
      oldest = node;
      sinceMs = known.sinceMs;
    }
    return oldest !== undefined && this.#nodes.delete(oldest);
  }

  #recheckGone(node: string, known: Known): void {
    const { notAfterMs, good } = known.credential;
    if (this.#now() > notAfterMs) this.#enter(node, known, 'left', 'expired');
    else if (good && !good()) this.#enter(node, known, 'left', 'untrusted');
    else if (known.state === 'connected') this.#enter(node, known, 'away', 'lost');
  }

  #enter(node: string, known: Known, state: NodePresence['state'], why: Why | undefined): void {
    known.state = state;
    known.why = why;
    known.sinceMs = this.#now();
    this.#tell(node);
  }

  #tell(node: string, pattern?: string): void {
    for (const listener of this.#listeners) listener(node, pattern);
  }
}
