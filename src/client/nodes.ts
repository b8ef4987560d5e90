import type { Client } from '@grpc/grpc-js';
import {
  type NodePresence as Message,
  NodeServiceService as methods,
} from '../../gen/ts/fedgate/gateway/v1/node_service.js';
import type { FedgateError } from '../errors.js';
import { callServerStream, callUnary } from '../transport/client-calls.js';
import { fromRpcStatus } from '../transport/status.js';

/** What is known of a node. */
export interface NodePresence {
  readonly org: string;
  readonly node: string;
  /** `away`: it has no connection. `left`: its certificate does not count any more either. */
  readonly state: 'connected' | 'away' | 'left';
  /** Since when it is in that state. */
  readonly since: Date;
  /**
   * Why it is not connected. Away: it closed its connection (`closed`), that broke (`lost`), or the gateway stopped (`drained`). Left:
   * its certificate is past its end (`expired`), or its CA no longer counts (`untrusted`). Undefined: it is connected.
   */
  readonly why: 'closed' | 'lost' | 'drained' | 'expired' | 'untrusted' | undefined;
  /** Whether it is subscribed to its inbox, live. */
  readonly inbox: boolean;
}

export interface FoundNodes {
  readonly nodes: readonly NodePresence[];
  /** Organisations that did not answer in time. */
  readonly unanswered: readonly { readonly org: string; readonly error: FedgateError }[];
}

/** What a watcher is told. */
export interface NodeChange {
  readonly nodes: readonly NodePresence[];
  /** Whether all nodes that there are have been told by now. */
  readonly complete: boolean;
}

const STATES: Readonly<Record<number, NodePresence['state']>> = { 1: 'connected', 2: 'away', 3: 'left' };
const WHYS: Readonly<Record<number, NodePresence['why']>> = {
  1: 'closed',
  2: 'lost',
  3: 'drained',
  4: 'expired',
  5: 'untrusted',
};
/** Other organisations are waited for by the gateway, milliseconds; this leaves it the time to say so. */
const TIMEOUT_MS = 20_000;

/**
 * Which nodes are there, for nodes that are granted `nodes`. Of another organisation only what it shows is told. Rejects and throws NOT_GRANTED,
 * ORG_UNKNOWN, PEER_UNREACHABLE, FEATURE_UNSUPPORTED (a gateway of an earlier version).
 */
export class NodeDirectory {
  readonly #channel: () => Client;

  /** Use `client.nodes`. */
  constructor(channel: () => Client) {
    this.#channel = channel;
  }

  /** By name. @param org the own organisation unless given */
  async list(org = ''): Promise<readonly NodePresence[]> {
    const { nodes } = await callUnary(this.#channel(), methods.listNodes, { org }, { timeoutMs: TIMEOUT_MS });
    return nodes.map(toNode);
  }

  /** Every node of that name in the own organisation and in others that can be reached. */
  async find(node: string): Promise<FoundNodes> {
    const found = await callUnary(this.#channel(), methods.findNode, { node }, { timeoutMs: TIMEOUT_MS });
    const unanswered = found.unanswered.map(({ org, error }) => ({
      org,
      error: fromRpcStatus(error ?? { code: 2, message: 'no answer', details: [] }),
    }));
    return { nodes: found.nodes.map(toNode), unanswered };
  }

  /**
   * First the nodes as they are, then each that changed, as it is by then. Throws DRAINING when the gateway stops, PEER_UNREACHABLE when the
   * link to the other organisation ends: watch again.
   */
  async *watch(options: { readonly org?: string; readonly signal?: AbortSignal } = {}): AsyncGenerator<NodeChange> {
    const { org = '', signal = new AbortController().signal } = options;
    try {
      for await (const { nodes, complete } of callServerStream(this.#channel(), methods.watchNodes, { org }, signal))
        yield { nodes: nodes.map(toNode), complete };
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

const toNode = ({ org, node, state, sinceTimeMs, reason, inbox }: Message): NodePresence => ({
  org,
  node,
  state: STATES[state] ?? 'away',
  since: new Date(Number(sinceTimeMs)),
  why: WHYS[reason],
  inbox,
});
