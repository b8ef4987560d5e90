import type { NodePresence as Message } from '../../gen/ts/fedgate/gateway/v1/node_service.js';
import { parseNodeName } from '../identity/names.js';
import type { NodePresence, Why } from './types.js';

/** What is known of a node, as the contract says it: to programs and to other gateways. */

const STATES = { connected: 1, away: 2, left: 3 } as const;
const REASONS = { closed: 1, lost: 2, drained: 3, expired: 4, untrusted: 5 } as const;
const STATE_OF: readonly (NodePresence['state'] | undefined)[] = [undefined, 'connected', 'away', 'left'];
const WHY_OF: readonly (Why | undefined)[] = [undefined, 'closed', 'lost', 'drained', 'expired', 'untrusted'];

/** `shown`: which of its patterns are told, instead of all. */
export const toMessage = (
  org: string,
  { node, state, sinceMs, why, inbox, patternsCut }: NodePresence,
  shown: { readonly patterns: readonly string[]; readonly cut: boolean },
): Message => ({
  org,
  node,
  state: STATES[state],
  sinceTimeMs: BigInt(Math.round(sinceMs)),
  reason: why === undefined ? 0 : REASONS[why],
  inbox,
  patterns: [...shown.patterns],
  patternsCut: patternsCut || shown.cut,
});

/** What a peer says of a node of its own. Its word for the organisation is not needed. Throws FIELD_INVALID. */
export function fromMessage({ node, state, sinceTimeMs, reason, inbox, patterns, patternsCut }: Message): NodePresence {
  const known = STATE_OF[state];
  return {
    node: parseNodeName(node, 'node'),
    // A state of a later version: not there, as far as this one knows.
    state: known ?? 'away',
    sinceMs: Math.max(0, Math.min(Number(sinceTimeMs), Number.MAX_SAFE_INTEGER)),
    why: known === 'connected' ? undefined : WHY_OF[reason],
    inbox,
    patterns,
    patternsCut,
  };
}
