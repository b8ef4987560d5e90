import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { type OrgName, parseOrgName } from '../../src/identity/names.js';
import { dialWaitMs } from '../../src/link/backoff.js';
import type { DialTarget } from '../../src/link/dial.js';
import { Peer, type PeerHost } from '../../src/link/peer.js';

const GLOBEX: OrgName = parseOrgName('GLOBEX', 'org');
const at = (address: string): DialTarget => ({ org: GLOBEX, gateway: 'gw1', address, authorities: [] });

/** A peer whose every dial fails, and what was seen of it. */
function deadPeer(start: readonly DialTarget[], find?: PeerHost['find']) {
  const nothing: string[] = [];
  const seen = { targets: start, dialled: [] as string[], states: [] as string[], urgent: false, nothing };
  let reached: () => void = () => undefined;
  const host: PeerHost = {
    selfId: 'ACME/gw1',
    targets: () => seen.targets,
    dial: target => {
      seen.dialled.push(target.address);
      return Promise.reject(new FedgateError('PEER_UNREACHABLE', 'nobody is there'));
    },
    find,
    onFoundNothing: ({ address }) => void nothing.push(address),
    complaint: () => undefined,
    isUrgent: () => seen.urgent,
    onState: ({ state }) => {
      seen.states.push(state);
      if (state === 'backoff') reached();
    },
  };
  const peer = new Peer(GLOBEX, host);
  return { peer, seen, backoff: () => new Promise<void>(resolve => (reached = resolve)) };
}

test('peer: looking at the membership again does not shorten the wait of one that is away', async t => {
  const { peer, seen, backoff } = deadPeer([at('a:1')]);
  t.teardown(() => peer.close(0));
  const waiting = backoff();
  peer.want();
  await waiting;
  const dueMs = peer.nextRetryMs;
  for (let i = 0; i < 10; i++) peer.membershipChanged();
  t.deepEqual([seen.dialled, peer.state, peer.nextRetryMs], [['a:1'], 'backoff', dueMs]);
});

test('peer: a new address is dialled at once', async t => {
  const { peer, seen, backoff } = deadPeer([at('a:1')]);
  t.teardown(() => peer.close(0));
  const waiting = backoff();
  peer.want();
  await waiting;
  seen.targets = [at('b:2')];
  const again = backoff();
  peer.membershipChanged();
  await again;
  t.deepEqual(seen.dialled, ['a:1', 'b:2']);
});

test('peer: one without an address stays blocked in silence until it has one', async t => {
  const { peer, seen, backoff } = deadPeer([]);
  t.teardown(() => peer.close(0));
  peer.want();
  for (let i = 0; i < 10; i++) peer.membershipChanged();
  t.deepEqual(seen.states, ['blocked']);
  seen.targets = [at('a:1')];
  const waiting = backoff();
  peer.membershipChanged();
  await waiting;
  t.deepEqual(seen.dialled, ['a:1']);
});

test('peer: only when no known way works are others looked for, and one without an address is not given up then', async t => {
  for (const known of [[at('a:1')], []]) {
    const found = [at('a:1'), at('b:2'), at('c:3')];
    const { peer, seen, backoff } = deadPeer(known, async () => found);
    t.teardown(() => peer.close(0));
    const waiting = backoff();
    peer.want();
    await waiting;
    t.deepEqual(seen.dialled, ['a:1', 'b:2', 'c:3']);
    t.deepEqual(seen.nothing, known.length > 0 ? ['b:2', 'c:3'] : ['a:1', 'b:2', 'c:3']);
    t.is(peer.state, 'backoff');
  }
});

test('peer: while something durable waits, a look that takes its time does not delay the known ways', async t => {
  let looks = 0;
  const { peer, seen, backoff } = deadPeer([at('a:1')], () => {
    looks++;
    return new Promise(() => undefined);
  });
  t.teardown(() => peer.close(0));
  seen.urgent = true;
  for (let i = 0; i < 3; i++) {
    const waiting = backoff();
    if (i === 0) peer.waiting();
    await waiting;
  }
  t.is(seen.dialled.length, 3);
  t.is(looks, 1);
});

test('peer: one that something durable waits for is dialled at least every two seconds', t => {
  const waits = [
    dialWaitMs(30_000, 0, true),
    dialWaitMs(300, 0, true),
    dialWaitMs(300, 5_000, true),
    dialWaitMs(30_000, 0, false),
  ];
  t.deepEqual(waits, [2_000, 300, 5_000, 30_000]);
});

test('peer: to hear that something durable waits for it makes it wanted', async t => {
  const { peer, seen, backoff } = deadPeer([at('a:1')]);
  t.teardown(() => peer.close(0));
  seen.urgent = true;
  const waiting = backoff();
  peer.waiting();
  await waiting;
  t.true(peer.wanted);
  t.true(peer.nextRetryMs - Date.now() <= 2_000);
});
