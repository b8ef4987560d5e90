import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { freePort } from '../../src/demo/free-port.js';
import { createSelfSignedServer } from '../../src/identity/issue.js';
import { type CommonMethods, Worker } from '../worker.js';
import { loadNats } from './nats-client.js';
import type { NatsMethods } from './nats-worker.js';
import { measureRate, type System } from './system.js';

const start = (name: string): Worker<NatsMethods & CommonMethods> =>
  new Worker(name, new URL('./nats-worker.js', import.meta.url));

/** Publisher → nats-server → leaf node connection → nats-server → subscriber, TLS on every hop. The publisher is on the leaf's side. */
export const natsSystem: System = {
  name: 'nats',

  async unavailable() {
    if (!loadNats()) return '@nats-io/transport-node is not installed: `npm run bench:setup`';
    return await promisify(execFile)('nats-server', ['--version']).then(
      () => undefined,
      () => 'nats-server is not on the PATH',
    );
  },

  async measure(payloadBytes, seconds) {
    const identity = await createSelfSignedServer('localhost', 'spiffe://bench.example/nats');
    const ca = identity.certificate;
    const [hubPort, hubClients, leafClients] = [await freePort(), await freePort(), await freePort()];
    await using hub = start('nats hub');
    await using leaf = start('nats leaf');
    await using subscriber = start('nats subscriber');
    await using publisher = start('nats publisher');
    await hub.call('serve', { identity, clientPort: hubClients, leafPort: hubPort });
    await leaf.call('serve', { identity, clientPort: leafClients, hubPort });
    await subscriber.call('subscribe', { port: hubClients, ca });
    await publisher.call('publish', { port: leafClients, ca, payloadBytes });
    const counter: Parameters<typeof measureRate>[3] = { measure: params => subscriber.call('measure', params) };
    return await measureRate('nats', payloadBytes, seconds, counter, [publisher, leaf, hub, subscriber]);
  },
};
