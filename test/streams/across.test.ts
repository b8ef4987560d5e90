import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import test, { type ExecutionContext } from 'ava';
import type { ByteStream, FedgateClient } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import type { FedgateError } from '../../src/errors.js';
import { FaultyWire } from '../faults/support/proxy.js';
import { seededRandom } from '../faults/support/random.js';
import { startTestOrg, type TestOrg } from '../support/federation.js';
import { startTestRegistry, type TestRegistry, type TestScope } from '../support/registry.js';

const MIB = 1024 * 1024;
const ACCESS =
  'nodes: [{ node: "*", openStreams: ["**", "pubsub://*/**"], acceptStreams: ["**"], publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]';
const LINKS = 'links: { heartbeatMs: 200, deadAfterMs: 1000 }';

interface Scene {
  readonly registry: TestRegistry;
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  /** The only way between the two. */
  readonly wire: FaultyWire;
  readonly opener: FedgateClient;
  readonly acceptor: FedgateClient;
}

/** ACME, which nobody can dial, opens streams to GLOBEX over a wire that can be cut; GLOBEX may open some too. */
async function scene(t: TestScope): Promise<Scene> {
  const registry = await startTestRegistry(t);
  const peers = `127.0.0.1:${await freePort()}`;
  const wire = await FaultyWire.open(t, peers, seededRandom(7));
  const access = (other: string): string => `${ACCESS}\npeers: [{ org: ${other}, streams: ["**"], publish: ["**"] }]`;
  const GLOBEX = await startTestOrg(t, registry, 'GLOBEX', {
    access: access('ACME'),
    extra: LINKS,
    peers,
    addresses: [wire.address],
  });
  const ACME = await startTestOrg(t, registry, 'ACME', { access: access('GLOBEX'), extra: LINKS, reachable: false });
  return { registry, ACME, GLOBEX, wire, opener: await ACME.node('opener'), acceptor: await GLOBEX.node('acceptor') };
}

let shared: Scene;
const undo: (() => unknown)[] = [];

test.before(async () => {
  shared = await scene({ teardown: action => void undo.push(action) });
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

let channels = 0;

/** Both ends of a new stream. */
async function pair(
  { opener, acceptor }: Pick<Scene, 'opener' | 'acceptor'>,
  to: (channel: string) => string = channel => `pubsub://GLOBEX/${channel}`,
  options: { resumeMs?: number; window?: number } = {},
): Promise<[ByteStream, ByteStream]> {
  const channel = `c${++channels}`;
  let accept: (stream: ByteStream) => void = () => undefined;
  const accepted = new Promise<ByteStream>(resolve => {
    accept = resolve;
  });
  const accepting = acceptor.acceptStreams(channel, stream => accept(stream), { window: options.window });
  await accepting.opened;
  const near = await opener.openStream(to(channel), options);
  const far = await accepted;
  for (const stream of [near, far]) stream.on('error', () => undefined);
  accepting.close();
  return [near, far];
}

const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

async function readAll(stream: ByteStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Resolves with what a stream is destroyed with. */
async function failure(stream: ByteStream): Promise<FedgateError | undefined> {
  if (!stream.destroyed) await new Promise(resolve => stream.once('close', resolve));
  return (stream.errored ?? undefined) as FedgateError | undefined;
}

for (const [title, to] of [
  ['two organisations', (channel: string) => `pubsub://GLOBEX/${channel}`],
  ['one organisation', (channel: string) => channel],
] as const) {
  test(`stream: bytes go both ways at once, each once and in order, and each way ends by itself, within ${title}`, async t => {
    const { opener, acceptor, GLOBEX } = shared;
    const ends = title === 'two organisations' ? { opener, acceptor } : { opener: await GLOBEX.node('local'), acceptor };
    const [near, far] = await pair(ends, to);
    t.is(far.org, title === 'two organisations' ? 'ACME' : 'GLOBEX');
    t.deepEqual([near.org, near.node], ['GLOBEX', 'acceptor']);
    const [there, back] = [randomBytes(9 * MIB + 17), randomBytes(5 * MIB + 3)];
    const [heard, answered] = [readAll(far), readAll(near)];
    near.end(there);
    await once(near, 'finish');
    t.is(digest(await heard), digest(there));
    t.false(far.writableEnded, 'half-closed only');
    far.end(back);
    t.is(digest(await answered), digest(back));
    t.deepEqual(await Promise.all([failure(near), failure(far)]), [undefined, undefined]);
  });
}
