import type { NodePresence as Message } from '../../gen/ts/fedgate/gateway/v1/node_service.js';
import type { NodePresence, Why } from '../presence/types.js';

const STATES: { readonly [state in NodePresence['state']]: 1 | 2 | 3 } = { connected: 1, away: 2, left: 3 };
const REASONS: { readonly [why in Why]: 1 | 2 | 3 | 4 | 5 } = {
  closed: 1,
  lost: 2,
  drained: 3,
  expired: 4,
  untrusted: 5,
};

export const toNode = (org: string, { node, state, sinceMs, why, inbox }: NodePresence): Message => ({
  org,
  node,
  state: STATES[state],
  sinceTimeMs: BigInt(Math.round(sinceMs)),
  reason: why === undefined ? 0 : REASONS[why],
  inbox,
});

export const byName = (a: { readonly node: string }, b: { readonly node: string }): number =>
  a.node < b.node ? -1 : a.node > b.node ? 1 : 0;
