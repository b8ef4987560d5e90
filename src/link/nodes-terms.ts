import { FedgateError } from '../errors.js';
import type { Pattern } from '../messaging/address.js';
import type { NodeSource } from '../presence/types.js';

/** What links tell other gateways of the nodes of the own organisation. */
export interface NodesHost {
  readonly nodes: NodeSource;
  /** Whether a node of another organisation may know of one of the own. */
  exposes(org: string, asker: string, node: string): boolean;
  /** Where a node of another organisation may ask. */
  askable(org: string, asker: string): readonly Pattern[];
}

/** Questions of one gateway that may be open on a link. */
export const MAX_OPEN_ASKS = 256;
/** Questions that a gateway may put at once, and per second in the long run. */
export const ASK_RATE = { burst: 200, perSecond: 50 } as const;
/** How long changes are gathered before a gateway is told, milliseconds. */
export const LINK_GATHER_MS = 250;
/** Nodes of other organisations that are kept for those who ask, over all questions on a link. */
export const MAX_MIRRORED_NODES = 100_000;
/** Bytes of the patterns on which they answer. */
export const MAX_MIRRORED_PATTERN_BYTES = 16 * 1024 * 1024;

export const tooManyAsks = (org: string, retryAfterMs: number): FedgateError =>
  new FedgateError('LIMIT_REACHED', `too many questions for nodes of ${org} at once`, {
    metadata: { limit: 'questions for nodes' },
    retryAfterMs,
  });
