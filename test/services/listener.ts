import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Client } from '@grpc/grpc-js';
import { HealthService as HealthDefinition } from '../../gen/ts/grpc/health/v1/health.js';
import { createAuthority, issueLeaf } from '../../src/identity/issue.js';
import { type OrgName, parseHostPort } from '../../src/identity/names.js';
import { gatewayDnsName } from '../../src/identity/subject.js';
import { packageRoot } from '../../src/package-root.js';
import { HealthService } from '../../src/services/health.js';
import { createReflection } from '../../src/services/reflection.js';
import { CallWrapper } from '../../src/transport/calls.js';
import { openChannel } from '../../src/transport/channel.js';
import { Listener } from '../../src/transport/server.js';

const FEDERATION = 'fed.example';
const ORG = 'ACME' as OrgName;
export const SERVICES = ['grpc.health.v1.Health', 'fedgate.messaging.v1.MessagingService'];

/** A listener with reflection and health over mutual TLS, and the two ways to call it. */
export interface ReflectingListener extends AsyncDisposable {
  readonly health: HealthService;
  readonly channel: Client;
  /** Runs `buf curl` with the certificates of a node; `path` is added to the URL. Gives back what it printed. */
  curl(path: string, ...flags: readonly string[]): Promise<string>;
}

export async function startListener(): Promise<ReflectingListener> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-test-'));
  const authority = await createAuthority(FEDERATION, ORG);
  const gateway = await issueLeaf(authority, FEDERATION, { org: ORG, role: 'gateway', name: 'gw1' });
  const node = await issueLeaf(authority, FEDERATION, { org: ORG, role: 'node', name: 'tester' });
  const serverName = gatewayDnsName(FEDERATION, ORG, 'gw1');
  const windows = { stream: 1024 * 1024, connection: 4 * 1024 * 1024 };
  const listener = new Listener({
    name: 'test listener',
    listen: parseHostPort('127.0.0.1:0', 'listen', { allowPortZero: true }),
    identity: gateway,
    authorities: [authority.certificate],
    windows,
    maxConcurrentStreams: 100,
  });
  const calls = new CallWrapper<undefined>({ authenticate: () => undefined, onFailure: () => undefined });
  const health = new HealthService();
  const reflection = createReflection(calls, { services: SERVICES });
  listener.addService(HealthDefinition, health.implementation(calls));
  listener.addService(reflection.v1.definition, reflection.v1.implementation);
  listener.addService(reflection.v1alpha.definition, reflection.v1alpha.implementation);
  await listener.start();
  const channel = openChannel({
    address: listener.address,
    serverName,
    identity: node,
    authorities: [authority.certificate],
    window: windows.stream,
    maxReceiveBytes: 1024 * 1024,
  });
  const files = { 'ca.pem': authority.certificate, 'cert.pem': node.certificate, 'key.pem': node.key };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text, { mode: 0o600 });
  return {
    health,
    channel,
    async curl(path, ...flags) {
      const tls = ['--cacert', 'ca.pem', '--cert', 'cert.pem', '--key', 'key.pem', '--servername', serverName];
      const url = `https://${listener.address}${path}`;
      const buf = fileURLToPath(new URL('node_modules/.bin/buf', packageRoot));
      const { stdout } = await promisify(execFile)(buf, ['curl', '--protocol', 'grpc', ...tls, ...flags, url], {
        cwd: folder,
        timeout: 30_000,
      });
      return stdout;
    },
    async [Symbol.asyncDispose]() {
      channel.close();
      await listener.stop(0);
      await rm(folder, { recursive: true });
    },
  };
}
