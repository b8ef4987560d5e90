import { once } from 'node:events';
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { connect } from '../../src/client/index.js';
import { addNode } from '../../src/gateway/add-node.js';
import { startFederation } from '../support/federation.js';

const ONE_WAY_MS = 20;

/** A line with a delay each way and no limit of bandwidth. */
async function longLine(t: ExecutionContext, target: string): Promise<string> {
  const [host = '', port = ''] = target.split(':');
  const sockets: Socket[] = [];
  const server = createServer(near => {
    const far = connectSocket(Number(port), host);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.push(from);
      from.on('data', chunk => setTimeout(() => to.write(chunk), ONE_WAY_MS));
      from.on('error', () => undefined);
      from.on('close', () => to.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('windows: an upload over a long line is not held to 64 KiB per round trip', async t => {
  const { ACME } = await startFederation(t, { ACME: {} });
  const address = await longLine(t, ACME.gateway.nodeAddress);
  const client = await connect({
    context: await addNode({ folder: ACME.folder, name: 'far', gateway: 'gw1', address }),
  });
  t.teardown(() => client.close());
  const bytes = 8 * 1024 * 1024;
  const records = Array.from({ length: bytes / 32_768 }, () => ({ payload: Buffer.alloc(32_768) }));
  const fromMs = performance.now();
  await client.publishAll('a', records);
  const tookMs = performance.now() - fromMs;
  const unraisedMs = (bytes / 65_536) * 2 * ONE_WAY_MS;
  t.log(`${Math.round(tookMs)} ms; with windows of 64 KiB at least ${unraisedMs} ms`);
  t.true(tookMs < unraisedMs / 2);
});
