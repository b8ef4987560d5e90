import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import type { FedgateClient, FileStream } from '../../src/client/index.js';
import { startFederation } from '../support/federation.js';
import { temporaryFolder } from '../support/registry.js';

const MIB = 1024 * 1024;
const NODES = 'nodes: [{ node: "*", publish: ["pubsub://*/**"], subscribe: ["**"], share: ["*"], fetch: ["*"] }]';
const access = (other: string): string => `${NODES}\npeers: [{ org: ${other}, publish: ["**"] }]`;

/** Publishes messages one after the other, each when the one before has arrived. */
async function pingPong(from: FedgateClient, to: FedgateClient, org: string, count: number): Promise<void> {
  const subscription = to.subscribe('news/*');
  await subscription.opened;
  const messages = subscription[Symbol.asyncIterator]();
  for (let i = 0; i < count; i++) {
    await from.publish(`pubsub://${org}/news/today`, String(i), { ack: 'received' });
    const { value } = await messages.next();
    if (value?.text !== String(i)) throw new Error(`${value?.text} came, and not ${i}`);
  }
  await messages.return?.();
}

test('files: messages of the same two organisations pass transfers that stand still, and such that go, in both directions', async t => {
  t.timeout(120_000);
  const extra = 'links: { dial: all }';
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: access('GLOBEX'), extra },
    GLOBEX: { access: access('ACME'), extra },
  });
  const [acme, globex] = [await ACME.node('a'), await GLOBEX.node('g')];
  const content = randomBytes(64 * MIB);
  const shares = [
    [globex, (await acme.share(Readable.from([content]), { audience: { orgs: ['GLOBEX'] } })).id],
    [acme, (await globex.share(Readable.from([content]), { audience: { orgs: ['ACME'] } })).id],
  ] as const;
  const both = (): Promise<unknown> =>
    Promise.all([pingPong(acme, globex, 'GLOBEX', 50), pingPong(globex, acme, 'ACME', 50)]);

  // Nobody reads on: all that may be on its way is.
  const standing: FileStream[] = [];
  for (const [client, id] of shares) {
    for (let i = 0; i < 4; i++) {
      const stream = await client.fetchStream(id);
      await stream[Symbol.asyncIterator]().next();
      standing.push(stream);
    }
  }
  await both();
  for (const stream of standing) stream.close();

  const folder = await temporaryFolder(t);
  const going = shares.map(([client, id], i) => client.fetch(id, { to: join(folder, `out${i}`) }));
  await both();
  for (const { share } of await Promise.all(going)) t.is(share.size, content.length);
});
