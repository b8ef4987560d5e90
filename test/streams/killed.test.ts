import test from 'ava';
import type { ByteStream } from '../../src/client/index.js';
import { allKnow, startTestOrg } from '../support/federation.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { startTestRegistry } from '../support/registry.js';
import { failure } from '../support/streams.js';

const ACCESS = 'nodes: [{ node: "*", openStreams: ["**", "pubsub://*/**"], acceptStreams: ["**"] }]';

test('stream: a gateway that is killed and started again loses its streams, and both ends hear STREAM_LOST', async t => {
  const registry = await startTestRegistry(t);
  const GLOBEX = await GatewayProcess.join(t, registry, 'GLOBEX', `${ACCESS}\npeers: [{ org: ACME, streams: ["**"] }]`);
  const ACME = await startTestOrg(t, registry, 'ACME', { access: ACCESS, reachable: false });
  await allKnow(registry, [GLOBEX, ACME]);
  const [opener, acceptor] = [await ACME.node('opener'), await GLOBEX.node(t, 'acceptor')];
  let accept: (stream: ByteStream) => void = () => undefined;
  const accepted = new Promise<ByteStream>(resolve => {
    accept = resolve;
  });
  await acceptor.acceptStreams('c', stream => accept(stream)).opened;
  const near = await opener.openStream('pubsub://GLOBEX/c');
  near.on('error', () => undefined);
  const far = await accepted;
  near.write('hello');
  await new Promise(resolve => far.once('data', resolve));
  await GLOBEX.kill();
  await GLOBEX.start();
  t.deepEqual(
    (await Promise.all([failure(near), failure(far)])).map(error => error?.reason),
    ['STREAM_LOST', 'STREAM_LOST'],
  );
});
