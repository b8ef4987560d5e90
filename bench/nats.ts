import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { freePort } from '../src/demo/free-port.js';
import { createSelfSignedServer } from '../src/identity/issue.js';
import { installed } from './nats-client.js';
import type { NatsServerMethods } from './nats-server-worker.js';
import { type CommonMethods, Worker } from './worker.js';

type Server = Worker<NatsServerMethods & CommonMethods>;

/** Two servers, one a leaf of the other, TLS on every connection. */
export interface NatsPair extends AsyncDisposable {
  readonly leaf: Server;
  readonly hub: Server;
  /** What clients connect with. */
  readonly leafClient: NatsTarget;
  readonly hubClient: NatsTarget;
}

export interface NatsTarget {
  readonly port: number;
  readonly ca: string;
}

/** Why NATS cannot be measured here, with these packages; undefined: it can. */
export async function natsUnavailable(packages: readonly string[]): Promise<string | undefined> {
  const missing = packages.filter(name => !installed(name));
  if (missing.length > 0) return `${missing.join(', ')} not installed: \`npm run bench:setup\``;
  return await promisify(execFile)('nats-server', ['--version']).then(
    () => undefined,
    () => 'nats-server is not on the PATH',
  );
}

const startServer = (name: string): Server => new Worker(name, new URL('./nats-server-worker.js', import.meta.url));

/** With `jetStream` the two are domains, named `leaf` and `hub`. */
export async function startNatsPair({ jetStream }: { readonly jetStream: boolean }): Promise<NatsPair> {
  const identity = await createSelfSignedServer('localhost', 'spiffe://bench.example/nats');
  const [hubPort, hubClients, leafClients] = [await freePort(), await freePort(), await freePort()];
  const [leaf, hub] = [startServer('nats leaf'), startServer('nats hub')];
  const domain = (name: string) => (jetStream ? { domain: name } : {});
  await hub.call('serve', { identity, clientPort: hubClients, leafPort: hubPort, ...domain('hub') });
  await leaf.call('serve', { identity, clientPort: leafClients, hubPort, ...domain('leaf') });
  const ca = identity.certificate;
  return {
    leaf,
    hub,
    leafClient: { port: leafClients, ca },
    hubClient: { port: hubClients, ca },
    async [Symbol.asyncDispose]() {
      await leaf[Symbol.asyncDispose]();
      await hub[Symbol.asyncDispose]();
    },
  };
}
