import type { Identity } from '../identity/verify.js';
import type { Presence } from '../presence/presence.js';
import type { Connection } from '../transport/server.js';
import type { NodeCaller } from './node-authentication.js';

/** Nodes that one connection without a certificate may bring: a proxy may carry the calls of several. */
export const MAX_NODES_PER_CONNECTION = 100;

interface Open {
  readonly nodes: Map<string, (why: 'closed' | 'lost') => void>;
}

/**
 * Tells presence of connections. One with a certificate is its node's from the beginning; one without is that of the nodes whose calls
 * came on it, from the first such call until it is over.
 */
export class Arrivals {
  readonly #presence: Presence;
  readonly #open = new Map<string, Open>();

  constructor(presence: Presence) {
    this.#presence = presence;
  }

  /** `identity`: whose certificate was shown; `good`: whether it still counts. */
  certified({ onEnd }: Connection, { name, notAfterMs }: Identity, good: () => boolean): void {
    onEnd(this.#presence.arrived({ name, notAfterMs, good }));
  }

  anonymous({ remoteAddress, onEnd }: Connection): void {
    const open: Open = { nodes: new Map() };
    this.#open.set(remoteAddress, open);
    onEnd(why => {
      if (this.#open.get(remoteAddress) === open) this.#open.delete(remoteAddress);
      for (const left of open.nodes.values()) left(why);
    });
  }

  /** A call of a node came on a connection without a certificate. */
  seen({ name }: NodeCaller, remoteAddress: string): void {
    const open = this.#open.get(remoteAddress);
    if (!open || open.nodes.has(name) || open.nodes.size >= MAX_NODES_PER_CONNECTION) return;
    // Tokens come and go; the node stays for as long as it is connected, and does not leave because one of them ended.
    open.nodes.set(name, this.#presence.arrived({ name, notAfterMs: Number.MAX_SAFE_INTEGER, good: () => true }));
  }
}
