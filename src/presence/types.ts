/** What is known of a node. `away`: no connection, and why the last one ended. `left`: its certificate no longer counts, and why. */
export interface NodePresence {
  readonly node: string;
  readonly state: 'connected' | 'away' | 'left';
  /** Since when it is in that state, milliseconds since 1970-01-01T00:00:00Z. */
  readonly sinceMs: number;
  /** Undefined while it is connected. */
  readonly why: Why | undefined;
  /** Whether a live subscription of its inbox is open. */
  readonly inbox: boolean;
  /** Where it answers requests; of another organisation, as far as that one tells. */
  readonly patterns: readonly string[];
  /** Whether it answers in more places than these. */
  readonly patternsCut: boolean;
}

/**
 * Why a node is not there. Away: it said goodbye (`closed`), its connection broke (`lost`), or the gateway stopped (`drained`). Left: its
 * certificate is past its end (`expired`), or it was revoked or its CA no longer counts (`untrusted`).
 */
export type Why = 'closed' | 'lost' | 'drained' | 'expired' | 'untrusted';

/** Nodes that change. */
export interface NodeSource {
  names(): Iterable<string>;
  get(node: string): NodePresence | undefined;
  /**
   * Hears the name of each node about which something changed, and, when it is that it answers on one or does so no more, the pattern. Returns how
   * to stop.
   */
  onChange(listener: (node: string, pattern?: string) => void): () => void;
}

/** A node's certificate, as long as it is asked about. */
export interface Credential {
  readonly name: string;
  readonly notAfterMs: number;
  /** Whether it still counts. */
  good(): boolean;
}
