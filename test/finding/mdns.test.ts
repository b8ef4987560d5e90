import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import test, { type ExecutionContext } from 'ava';
import { type Answer, encode } from 'dns-packet';
import { hintsIn, LanFinder, MAX_MDNS_RECORDS, MDNS_SERVICE, recordsOf } from '../../src/finding/mdns.js';
import type { OrgName } from '../../src/identity/names.js';
import { FEDERATION } from '../support/registry.js';

const GLOBEX = 'GLOBEX' as OrgName;
const own = { org: GLOBEX, gateway: 'gw1', port: 7411 };
const GROUP = '224.0.0.251';
const LOOPBACK = '127.0.0.1';
const never = (): AbortSignal => new AbortController().signal;

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>(resolve => socket.bind(0, LOOPBACK, resolve));
  const { port } = socket.address();
  await new Promise<void>(resolve => socket.close(() => resolve()));
  return port;
}

/** Why multicast does not work here. Undefined: it does. */
async function whyNoMulticast(port: number): Promise<string | undefined> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  try {
    await new Promise<void>((resolve, reject) => socket.once('error', reject).bind(port, '0.0.0.0', resolve));
    socket.addMembership(GROUP, LOOPBACK);
    socket.setMulticastInterface(LOOPBACK);
    socket.setMulticastLoopback(true);
    const heard = new Promise<string | undefined>(resolve => {
      const timer = setTimeout(() => resolve('nothing that was sent came back'), 1_000);
      socket.once('message', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
    await new Promise<void>((resolve, reject) =>
      socket.send('?', port, GROUP, error => (error ? reject(error) : resolve())),
    );
    return await heard;
  } catch (error) {
    return (error as Error).message;
  } finally {
    socket.close();
  }
}

function lan(t: ExecutionContext, port: number, told?: typeof own): LanFinder {
  const finder = new LanFinder({
    federation: FEDERATION,
    own: told,
    addresses: () => [LOOPBACK],
    interface: LOOPBACK,
    port,
    onProblem: error => t.log(error.message),
  });
  t.teardown(() => finder.close());
  return finder;
}

test('mDNS: a gateway on the same network is found, one of somebody else is not', async t => {
  const port = await freeUdpPort();
  const why = await whyNoMulticast(port);
  if (why !== undefined) {
    t.log(`no multicast on ${Object.keys(networkInterfaces()).join(', ')}: ${why}`);
    t.deepEqual(hintsIn(recordsOf({ ...own, federation: FEDERATION }, [LOOPBACK]), 'GLOBEX', FEDERATION).length, 1);
    return;
  }
  lan(t, port, own);
  const asker = lan(t, port);
  t.deepEqual(await asker.find(GLOBEX, never()), [{ gateway: 'gw1', address: '127.0.0.1:7411' }]);
  const none = await asker.find('INITECH' as OrgName, AbortSignal.timeout(150));
  t.deepEqual(none, []);
});

test('mDNS: noise on the network harms nobody', async t => {
  const port = await freeUdpPort();
  if ((await whyNoMulticast(port)) !== undefined) {
    t.pass();
    return;
  }
  lan(t, port, own);
  const asker = lan(t, port);
  const noise = createSocket('udp4');
  t.teardown(() => noise.close());
  const lies: Answer[] = recordsOf({ ...own, federation: 'other.example' }, ['203.0.113.1']);
  const packets = [
    Buffer.alloc(0),
    Buffer.from('x'),
    Buffer.alloc(9_000, 0xc0),
    encode({ type: 'response', answers: lies }),
  ];
  const sent = packets.map(packet => new Promise<void>(resolve => noise.send(packet, port, LOOPBACK, () => resolve())));
  await Promise.all(sent);
  t.deepEqual(await asker.find(GLOBEX, never()), [{ gateway: 'gw1', address: '127.0.0.1:7411' }]);
});

test('mDNS: only what fits together in one packet is a hint', t => {
  const good = recordsOf({ ...own, federation: FEDERATION }, ['10.0.0.1', 'fd00::1']);
  const hints = (records: readonly Answer[], org = 'GLOBEX'): string[] =>
    hintsIn(records, org, FEDERATION).map(({ gateway, address }) => `${gateway}@${address}`);
  t.deepEqual(hints(good), ['gw1@10.0.0.1:7411', 'gw1@[fd00::1]:7411']);
  t.deepEqual(hints(good, 'INITECH'), []);
  const without = (type: string): Answer[] => good.filter(record => record.type !== type);
  t.deepEqual(hints(without('SRV')), []);
  t.deepEqual(hints(without('TXT')), []);
  t.deepEqual(hints(without('A')), ['gw1@[fd00::1]:7411']);
  t.deepEqual(hints(recordsOf({ ...own, gateway: 'GW 1', federation: FEDERATION }, ['10.0.0.1'])), []);
  t.deepEqual(hints(recordsOf({ ...own, port: 0, federation: FEDERATION }, ['10.0.0.1'])), []);
  t.true(good.length < MAX_MDNS_RECORDS && good.every(({ name }) => name === MDNS_SERVICE || name.endsWith('local')));
});
