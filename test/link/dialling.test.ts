import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { parseOrgName } from '../../src/identity/names.js';
import type { DialTarget } from '../../src/link/dial.js';
import { Peer, type PeerHost } from '../../src/link/peer.js';

const GLOBEX = parseOrgName('GLOBEX', 'org');
const WATCHED_MS = 4_000;

/** A port at which nobody listens. */
async function refusingPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** A peer that is wanted, at a port that refuses; the times of its dials and its changes of state. */
function refusedPeer(port: number) {
  const dials: number[] = [];
  const states: string[] = [];
  const target: DialTarget = { org: GLOBEX, gateway: 'gw1', address: `127.0.0.1:${port}`, authorities: [] };
  const host: PeerHost = {
    selfId: 'ACME/gw1',
    targets: () => [target],
    complaint: () => undefined,
    onState: ({ state, lastError }) => states.push(state === 'backoff' ? `${state} ${lastError?.reason}` : state),
    dial: async () => {
      dials.push(performance.now());
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect').catch((cause: unknown) => {
        throw new FedgateError('PEER_UNREACHABLE', 'refused', { cause });
      });
      socket.destroy();
      throw new Error('somebody listens');
    },
  };
  const peer = new Peer(GLOBEX, host);
  peer.want();
  return { peer, dials, states };
}

test('dialling: a port that refuses is dialled a few times in 4 s, ever more rarely, by no two in the same beat, and each try and its failure are told', async t => {
  const port = await refusingPort();
  const peers = Array.from({ length: 8 }, () => refusedPeer(port));
  t.teardown(() => Promise.all(peers.map(({ peer }) => peer.close(0))));
  await sleep(WATCHED_MS);
  // Each between two tries.
  while (peers.some(({ peer }) => peer.state !== 'backoff')) await sleep(1);
  for (const { dials, states, peer } of peers) {
    t.true(dials.length >= 4 && dials.length <= 7, `${dials.length} dials`);
    const waits = dials.slice(1).map((at, i) => at - (dials[i] ?? 0));
    // The third is at least half of 200 ms * 1.7 * 1.7; however late timers are, no wait is shorter than that.
    t.true(
      waits.slice(2).every(wait => wait > 280),
      `${waits}`,
    );
    t.deepEqual(
      states,
      Array.from({ length: dials.length * 2 }, (_, i) => (i % 2 === 0 ? 'connecting' : 'backoff PEER_UNREACHABLE')),
    );
    t.true(peer.nextRetryMs > peer.sinceMs);
  }
  t.true(new Set(peers.map(({ dials }) => Math.round((dials[3] ?? 0) - (dials[0] ?? 0)))).size > 1);
});
