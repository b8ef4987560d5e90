import type { NodesAsk } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import { parseNodeName } from '../identity/names.js';
import { shownPatterns } from '../messaging/shown-patterns.js';
import { type ChangesSink, NodeChanges } from '../presence/changes.js';
import { toMessage } from '../presence/messages.js';
import { TokenBucket } from '../token-bucket.js';
import { toRpcStatus } from '../transport/status.js';
import type { Lane } from './lane.js';
import { ASK_RATE, LINK_GATHER_MS, MAX_OPEN_ASKS, type NodesHost, tooManyAsks } from './nodes-terms.js';

/** Answers the questions of a peer for nodes of the own organisation, each until it is closed. */
export class NodesHolder {
  readonly #lane: Lane;
  readonly #org: { readonly own: string; readonly peer: string };
  readonly #host: NodesHost;
  readonly #open = new Map<number, NodeChanges>();
  readonly #rate = new TokenBucket(ASK_RATE.burst, ASK_RATE.perSecond, performance.now());
  #lastId = 0;

  constructor(lane: Lane, org: { readonly own: string; readonly peer: string }, host: NodesHost) {
    this.#lane = lane;
    this.#org = org;
    this.#host = host;
    lane.out.onDrain(() => {
      for (const changes of this.#open.values()) changes.resume();
    });
  }

  /** Throws what must end the link: FRAME_UNEXPECTED, FIELD_INVALID. */
  ask({ id, asker, node: wanted }: NodesAsk): void {
    if (id <= this.#lastId) throw new FedgateError('FRAME_UNEXPECTED', `question ${id} after ${this.#lastId}`);
    this.#lastId = id;
    parseNodeName(asker, 'asker');
    if (wanted !== '') parseNodeName(wanted, 'node');
    const waitMs = this.#rate.take(performance.now());
    if (waitMs > 0 || this.#open.size >= MAX_OPEN_ASKS) return this.#refuse(id, waitMs || 1_000);
    const lane = this.#lane;
    const host = this.#host;
    const org = this.#org;
    const askable = host.askable(org.peer, asker);
    const sight = {
      node: (node: string) => (wanted === '' || wanted === node) && host.exposes(org.peer, asker, node),
      pattern: (pattern: string) => shownPatterns([pattern], askable).patterns.length > 0,
    };
    const sink: ChangesSink = {
      get writable() {
        return lane.out.writable;
      },
      put(nodes, complete) {
        const told = nodes.map(node => toMessage(org.own, node, shownPatterns(node.patterns, askable)));
        lane.put({ $case: 'nodesTold', value: { id, nodes: told, complete, error: undefined } });
      },
    };
    this.#open.set(id, new NodeChanges(host.nodes, sight, sink, LINK_GATHER_MS));
  }

  /** One that is not open was refused. */
  closeAsk(id: number): void {
    this.#open.get(id)?.close();
    this.#open.delete(id);
  }

  close(): void {
    for (const changes of this.#open.values()) changes.close();
    this.#open.clear();
  }

  /** Whoever asks without reading the answers gets none. */
  #refuse(id: number, retryAfterMs: number): void {
    if (!this.#lane.out.writable) return;
    const error = toRpcStatus(tooManyAsks(this.#org.own, retryAfterMs));
    this.#lane.put({ $case: 'nodesTold', value: { id, nodes: [], complete: false, error } });
  }
}
