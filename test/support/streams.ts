import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type ByteStream, connect, type FedgateClient } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import type { FedgateError } from '../../src/errors.js';
import { FaultyWire } from '../faults/support/proxy.js';
import { seededRandom } from '../faults/support/random.js';
import { allMet, startTestOrg, type TestOrg } from './federation.js';
import { startTestRegistry, type TestRegistry, type TestScope } from './registry.js';

export const MIB = 1024 * 1024;
export const ACCESS =
  'nodes: [{ node: "*", openStreams: ["**", "pubsub://*/**"], acceptStreams: ["**"], publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]';
const LINKS = 'links: { heartbeatMs: 200, deadAfterMs: 10000 }';

export interface Scene {
  readonly registry: TestRegistry;
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  /** The only way between the two. */
  readonly wire: FaultyWire;
  readonly opener: FedgateClient;
  readonly acceptor: FedgateClient;
}

/** ACME, which nobody can dial, opens streams to GLOBEX over a wire that can be cut; GLOBEX may open some too. */
export async function scene(t: TestScope): Promise<Scene> {
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
  await allMet(registry, ACME, GLOBEX);
  return { registry, ACME, GLOBEX, wire, opener: await ACME.node('opener'), acceptor: await GLOBEX.node('acceptor') };
}

let channels = 0;

/** Both ends of a new stream. */
export async function pair(
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

export const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

export async function readAll(stream: ByteStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Resolves with what a stream is destroyed with. */
export async function failure(stream: ByteStream): Promise<FedgateError | undefined> {
  if (!stream.destroyed) await new Promise(resolve => stream.once('close', resolve));
  return (stream.errored ?? undefined) as FedgateError | undefined;
}

/** Writes all, ends that way, and waits until the other end has it. */
export const writeAll = (stream: ByteStream, data: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.once('close', () => (stream.errored ? reject(stream.errored) : resolve()));
    stream.once('finish', resolve);
    stream.end(data);
  });

/** A node whose connection to its gateway goes over a wire of its own. */
export async function wiredNode(
  t: TestScope,
  org: TestOrg,
  name: string,
): Promise<{ client: FedgateClient; wire: FaultyWire }> {
  const path = await org.context(name);
  const text = await readFile(path, 'utf8');
  const [, address = ''] = /^gateway: "?([^"\n]+)"?$/m.exec(text) ?? [];
  const wire = await FaultyWire.open(t, address, seededRandom(3));
  const wired = join(dirname(path), 'wired.yaml');
  await writeFile(wired, text.replace(address, wire.address));
  const client = await connect({ context: wired });
  t.teardown(() => client.close());
  return { client, wire };
}
