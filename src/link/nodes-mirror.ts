import type { NodePresence as Message } from '../../gen/ts/fedgate/gateway/v1/node_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { parsePattern } from '../messaging/address.js';
import { MAX_SHOWN_PATTERNS } from '../messaging/shown-patterns.js';
import { fromMessage } from '../presence/messages.js';
import { MAX_KNOWN_NODES } from '../presence/presence.js';
import type { NodePresence, NodeSource } from '../presence/types.js';

/** The nodes that a peer shows to one of ours, as it last told them. */
export class NodesMirror implements NodeSource {
  /** Resolves with why it is no longer kept up to date. */
  readonly ended: Promise<FedgateError>;
  readonly #org: string;
  readonly #wanted: string;
  readonly #nodes = new Map<string, NodePresence>();
  readonly #listeners = new Set<(node: string, pattern?: string) => void>();
  readonly #over: () => void;
  readonly #whole: Promise<void>;
  #isOver = false;
  #resolveEnded!: (reason: FedgateError) => void;
  #resolveWhole!: () => void;
  #rejectWhole!: (error: FedgateError) => void;

  /** `wanted`: the only node that was asked for; empty: all. `over` is called once when nothing more is to be told. */
  constructor(org: string, wanted: string, over: () => void) {
    this.#org = org;
    this.#wanted = wanted;
    this.#over = over;
    this.ended = new Promise(resolve => {
      this.#resolveEnded = resolve;
    });
    this.#whole = new Promise((resolve, reject) => {
      this.#resolveWhole = resolve;
      this.#rejectWhole = reject;
    });
    this.#whole.catch(() => undefined);
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** Of the patterns on which they answer. */
  patternBytes = 0;

  /** Resolves when all that there is was told. Rejects with what ended it, PEER_UNREACHABLE after a while, or as the signal says. */
  async complete(signal: AbortSignal, timeoutMs: number): Promise<void> {
    const silent = (): void =>
      this.end(
        new FedgateError('PEER_UNREACHABLE', `${this.#org} did not answer within ${timeoutMs / 1000} s`, {
          metadata: { org: this.#org },
        }),
      );
    const aborted = (): void => this.end(asError(signal.reason));
    const timer = setTimeout(silent, timeoutMs);
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
    try {
      await this.#whole;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', aborted);
    }
  }

  /** Throws FIELD_INVALID, or FRAME_UNEXPECTED for a node that was not asked for. */
  take(messages: readonly Message[]): void {
    if (this.#isOver) return;
    for (const message of messages) {
      const node = fromMessage(message);
      if (this.#wanted !== '' && node.node !== this.#wanted)
        throw new FedgateError('FRAME_UNEXPECTED', `${this.#org} tells of a node that was not asked for`);
      if (this.#nodes.size >= MAX_KNOWN_NODES && !this.#nodes.has(node.node)) continue;
      if (node.patterns.length > MAX_SHOWN_PATTERNS) throw fieldError('patterns', 'are more than may be told');
      for (const pattern of node.patterns) parsePattern(pattern, 'patterns');
      this.patternBytes += bytesOf(node) - bytesOf(this.#nodes.get(node.node));
      this.#nodes.set(node.node, node);
      for (const listener of this.#listeners) listener(node.node);
    }
  }

  completed(): void {
    this.#resolveWhole();
  }

  end(reason: FedgateError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#over();
    this.#rejectWhole(reason);
    this.#resolveEnded(reason);
  }

  close(): void {
    this.end(new FedgateError('CANCELLED', 'nobody asks any more'));
  }

  names(): Iterable<string> {
    return this.#nodes.keys();
  }

  get(node: string): NodePresence | undefined {
    return this.#nodes.get(node);
  }

  onChange(listener: (node: string, pattern?: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

const bytesOf = (node: NodePresence | undefined): number =>
  node?.patterns.reduce((sum, { length }) => sum + length, 0) ?? 0;

const asError = (reason: unknown): FedgateError =>
  reason instanceof FedgateError ? reason : new FedgateError('CANCELLED', 'the caller gave up', { cause: reason });
