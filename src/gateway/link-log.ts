import type { Peer } from '../link/peer.js';
import type { Log } from '../telemetry/log.js';

/** Writes a change of the link to a peer into the log. */
export function logPeer(log: Log, peer: Peer): void {
  const { org, state, link, lastError } = peer;
  const way = link ? { gateway: link.peer.name, address: link.address, dialled: link.dialled } : {};
  const facts = { org, state, ...way };
  if (state !== 'backoff' && state !== 'blocked') {
    log.info(facts, 'link');
    return;
  }
  const security = lastError && lastError.reason !== 'PEER_UNREACHABLE' && lastError.status === 'PERMISSION_DENIED';
  log.warn({ ...facts, ...(security ? { security: true } : {}), err: lastError }, 'link');
}
