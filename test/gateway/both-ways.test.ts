import test, { type ExecutionContext } from 'ava';
import { connect, type FedgateClient } from '../../src/client/index.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { LIVE } from '../support/live.js';

/**
 * Bulk in both directions at once. What is on its way must be more than the sockets of a connection keep, some 4 MiB each way: Node reads
 * nothing from a connection while a write of its own waits, and two such sides on one connection stand still.
 */

const MIB = 1024 * 1024;
const PAYLOAD = Buffer.alloc(256 * 1024, 'x');
/** Generous: it takes a second or two, and stood still until keepalive cut the connection after 15, which is counted below. */
const WITHIN_MS = 90_000;

const access = (other: string): string =>
  `nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"] }]\npeers: [{ org: ${other}, publish: ["**"] }]`;

async function twoOrgs(t: ExecutionContext): Promise<{ ACME: TestOrg; GLOBEX: TestOrg }> {
  return startFederation(t, { ACME: { access: access('GLOBEX') }, GLOBEX: { access: access('ACME') } });
}

async function within<T>(t: ExecutionContext, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it stands still')), WITHIN_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    t.pass();
  }
}

/** Publishes so many records to each of some channels, each channel with a client of its own. */
async function flood(clients: readonly FedgateClient[], to: string, records: number, live: boolean): Promise<void> {
  const options = live ? { ...LIVE, patienceMs: 60_000 } : ({ ack: 'received' } as const);
  const all = Array.from({ length: records }, () => ({ payload: PAYLOAD }));
  await Promise.all(clients.map((client, i) => client.publishAll(`${to}/${i}`, all, options)));
}

async function publishers(t: ExecutionContext, org: TestOrg, count: number): Promise<FedgateClient[]> {
  const context = await org.context('publisher');
  return Promise.all(
    Array.from({ length: count }, async () => {
      const client = await connect({ context });
      t.teardown(() => client.close());
      return client;
    }),
  );
}

/** Counts what comes on a live subscription. */
async function hear(client: FedgateClient, pattern: string, records: number): Promise<{ all: Promise<number> }> {
  const subscription = client.subscribe(pattern);
  await subscription.opened;
  const count = async (): Promise<number> => {
    let count = 0;
    for await (const { payload } of subscription) if (payload.length === PAYLOAD.length && ++count === records) break;
    return count;
  };
  return { all: count() };
}

/** Counts, and acknowledges, what comes on a durable subscription. */
async function consume(client: FedgateClient, pattern: string, records: number): Promise<{ all: Promise<number> }> {
  const subscription = client.subscribe(pattern, { durable: 'all' });
  await subscription.opened;
  const count = async (): Promise<number> => {
    let count = 0;
    for await (const message of subscription) {
      void message.ack();
      if (message.payload.length === PAYLOAD.length && ++count === records) break;
    }
    return count;
  };
  return { all: count() };
}

for (const live of [true, false]) {
  const kind = live ? 'live' : 'durable';
  const receive = live ? hear : consume;

  test.serial(`both ways: ${kind} bulk between two gateways, both publishing at once`, async t => {
    const { ACME, GLOBEX } = await twoOrgs(t);
    const [clients, each] = [4, 40];
    const all = clients * each;
    const [fromAcme, fromGlobex] = [await publishers(t, ACME, clients), await publishers(t, GLOBEX, clients)];
    const heard = [
      await receive(await ACME.node('reader'), 'x/**', all),
      await receive(await GLOBEX.node('reader'), 'x/**', all),
    ];
    const before = [ACME, GLOBEX].map(lost);
    const flooded = [
      flood(fromAcme, 'pubsub://GLOBEX/x', each, live),
      flood(fromGlobex, 'pubsub://ACME/x', each, live),
    ];
    const fromMs = performance.now();
    await within(t, Promise.all(flooded));
    t.deepEqual(await within(t, Promise.all(heard.map(({ all }) => all))), [all, all]);
    t.log(`${Math.round(performance.now() - fromMs)} ms`);
    t.deepEqual([ACME, GLOBEX].map(lost), before);
  });

  test.serial(`both ways: ${kind} bulk that one client publishes and receives at once`, async t => {
    const { ACME } = await twoOrgs(t);
    const records = (48 * MIB) / PAYLOAD.length;
    const client = await ACME.node('echo');
    let broken = 0;
    client.on('disconnected', () => broken++);
    const heard = await receive(client, 'own/**', records);
    const all = Array.from({ length: records }, () => ({ payload: PAYLOAD }));
    const options = live ? { ...LIVE, patienceMs: 60_000 } : { delivery: 'durable' as const };
    await within(t, client.publishAll('own/x', all, options));
    t.is(await within(t, heard.all), records);
    t.is(broken, 0);
  });
}

/** How often a link was lost. Two gateways that dial each other at the same moment have two for a moment, and lose none. */
const lost = ({ events }: TestOrg): number =>
  events.filter(({ msg, state }) => msg === 'link' && state === 'backoff').length;
