import { setTimeout as delay } from 'node:timers/promises';
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
   * its certificate is past its end (`expired`), or it was revoked or its CA no longer counts (`untrusted`). Undefined: it is connected.
   */
  readonly why: 'closed' | 'lost' | 'drained' | 'expired' | 'untrusted' | undefined;
  /** Whether it is subscribed to its inbox, live. */
  readonly inbox: boolean;
  /** Where it answers requests now, as far as this node may ask there: patterns of channels. */
  readonly patterns: readonly string[];
  /** Whether it answers in more places than could be told. */
  readonly patternsCut: boolean;
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
  /**
   * Why nothing is told at the moment: the link to the other organisation broke, or the gateway is away. It goes on by itself; then all nodes are told
   * anew, and one that is not among them until `complete` is not shown any more.
   */
  readonly interrupted?: FedgateError;
}

const STATES: Readonly<Record<number, NodePresence['state']>> = { 1: 'connected', 2: 'away', 3: 'left' };
const WHYS: Readonly<Record<number, NodePresence['why']>> = {
  1: 'closed',
  2: 'lost',
  3: 'drained',
  4: 'expired',
  5: 'untrusted',
};
/** After what a watch goes on. */
const INTERRUPTIONS: ReadonlySet<string> = new Set([
  ...['PEER_UNREACHABLE', 'DRAINING', 'GATEWAY_UNREACHABLE', 'OUTCOME_UNKNOWN', 'DEADLINE_EXCEEDED', 'LIMIT_REACHED'],
]);
/** How long it waits before it asks again, milliseconds. */
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;
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
   * First the nodes as they are, then each that changed, as it is by then. Goes on by itself when the link to the other organisation or the gateway was
   * away, and tells so. Throws as `list` rejects, when it cannot even begin or is not granted any more.
   */
  async *watch(options: { readonly org?: string; readonly signal?: AbortSignal } = {}): AsyncGenerator<NodeChange> {
    const { org = '', signal = new AbortController().signal } = options;
    let begun = false;
    let waitMs = FIRST_WAIT_MS;
    while (!signal.aborted) {
      let told = false;
      try {
        for await (const { nodes, complete } of callServerStream(
          this.#channel(),
          methods.watchNodes,
          { org },
          signal,
        )) {
          if (!told) waitMs = FIRST_WAIT_MS;
          told = true;
          begun = true;
          yield { nodes: nodes.map(toNode), complete };
        }
      } catch (error) {
        if (signal.aborted) return;
        const interrupted = error as FedgateError;
        if (!begun || !INTERRUPTIONS.has(interrupted.reason)) throw error;
        if (told) yield { nodes: [], complete: false, interrupted };
      }
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
    }
  }
}

const toNode = ({ org, node, state, sinceTimeMs, reason, inbox, patterns, patternsCut }: Message): NodePresence => ({
  org,
  node,
  state: STATES[state] ?? 'away',
  since: new Date(Number(sinceTimeMs)),
  why: WHYS[reason],
  inbox,
  patterns,
  patternsCut,
});
