import type { NodesTold } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import { TokenBucket } from '../token-bucket.js';
import { fromRpcStatus } from '../transport/status.js';
import type { Lane } from './lane.js';
import { NodesMirror } from './nodes-mirror.js';
import { ASK_RATE, MAX_MIRRORED_NODES, MAX_MIRRORED_PATTERN_BYTES, MAX_OPEN_ASKS, tooManyAsks } from './nodes-terms.js';

/** The longest message of a peer's refusal that is handed on. */
const MAX_REFUSAL_CHARACTERS = 500;

/** Asks a peer for its nodes, for nodes of the own organisation. */
export class NodesAsker {
  readonly #lane: Lane;
  readonly #org: string;
  readonly #open = new Map<number, NodesMirror>();
  readonly #rate = new TokenBucket(ASK_RATE.burst, ASK_RATE.perSecond, performance.now());
  #lastId = 0;
  #mirrored = 0;
  #patternBytes = 0;

  constructor(lane: Lane, org: string) {
    this.#lane = lane;
    this.#org = org;
  }

  /** `node`: only the one of that name. Throws LIMIT_REACHED. */
  ask(asker: string, node = ''): NodesMirror {
    const waitMs = this.#rate.take(performance.now());
    if (waitMs > 0 || this.#open.size >= MAX_OPEN_ASKS) throw tooManyAsks(this.#org, waitMs || 1_000);
    const id = ++this.#lastId;
    const mirror = new NodesMirror(this.#org, node, () => {
      if (this.#open.delete(id)) this.#lane.put({ $case: 'nodesClose', value: { id } });
      this.#mirrored -= mirror.size;
      this.#patternBytes -= mirror.patternBytes;
    });
    this.#open.set(id, mirror);
    this.#lane.put({ $case: 'nodesAsk', value: { id, asker, node } });
    return mirror;
  }

  /** Throws what must end the link: FRAME_UNEXPECTED for an answer to no question, FIELD_INVALID. */
  take({ id, nodes, complete, error }: NodesTold): void {
    if (id === 0 || id > this.#lastId) throw new FedgateError('FRAME_UNEXPECTED', `an answer to question ${id}`);
    const mirror = this.#open.get(id);
    // It was closed, and this was on its way.
    if (!mirror) return;
    if (error) {
      this.#open.delete(id);
      return mirror.end(refusalOf(error, this.#org));
    }
    const { size, patternBytes } = mirror;
    mirror.take(nodes);
    this.#mirrored += mirror.size - size;
    this.#patternBytes += mirror.patternBytes - patternBytes;
    if (this.#mirrored > MAX_MIRRORED_NODES || this.#patternBytes > MAX_MIRRORED_PATTERN_BYTES)
      mirror.end(
        new FedgateError('LIMIT_REACHED', `${this.#org} tells of more nodes than are kept`, {
          metadata: { limit: 'nodes of another organisation' },
        }),
      );
    else if (complete) mirror.completed();
  }

  close(reason: FedgateError): void {
    const gone = new FedgateError('PEER_UNREACHABLE', `the link to ${this.#org} ended: ${reason.message}`, {
      metadata: { org: this.#org },
      retryAfterMs: 1_000,
    });
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const mirror of open) mirror.end(gone);
  }
}

/** A peer chooses what it refuses with; not how much of our caller's answer that fills. */
function refusalOf(status: NonNullable<NodesTold['error']>, org: string): FedgateError {
  const { reason, message, retryAfterMs } = fromRpcStatus(status);
  const cut = message.length > MAX_REFUSAL_CHARACTERS ? `${message.slice(0, MAX_REFUSAL_CHARACTERS)}…` : message;
  return new FedgateError(reason === 'INTERNAL' ? 'PEER_UNREACHABLE' : reason, cut, {
    metadata: { org },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
