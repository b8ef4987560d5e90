import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthService as HealthDefinition } from '../../gen/ts/grpc/health/v1/health.js';
import { writeContextFile } from '../../src/client/context.js';
import { writeKeyAndCertificate } from '../../src/identity/files.js';
import { createAuthority, issueLeaf } from '../../src/identity/issue.js';
import { type OrgName, parseHostPort } from '../../src/identity/names.js';
import { gatewayDnsName } from '../../src/identity/subject.js';
import { HealthService } from '../../src/services/health.js';
import { CallWrapper } from '../../src/transport/calls.js';
import { Listener } from '../../src/transport/server.js';
import { FEDERATION, type TestScope, temporaryFolder } from './registry.js';

const ORG = 'ACME' as OrgName;

/** A gateway of ACME that answers as a test wants it: a real server with real certificates, and nothing behind it. */
export interface FakeGateway {
  readonly folder: string;
  /** A context file of a node that uses it. */
  readonly context: string;
}

/** What it serves besides health; handlers may throw FedgateError. */
export type FakeServices = (calls: CallWrapper<undefined>) => readonly {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}[];

export async function startFakeGateway(t: TestScope, services: FakeServices): Promise<FakeGateway> {
  const folder = await temporaryFolder(t);
  const authority = await createAuthority(FEDERATION, ORG);
  const listener = new Listener({
    name: 'fake gateway',
    listen: parseHostPort('127.0.0.1:0', 'listen', { allowPortZero: true }),
    identity: await issueLeaf(authority, FEDERATION, { org: ORG, role: 'gateway', name: 'gw1' }),
    authorities: [authority.certificate],
    windows: { stream: 1024 * 1024, connection: 4 * 1024 * 1024 },
    maxConcurrentStreams: 100,
  });
  const calls = new CallWrapper<undefined>({ authenticate: () => undefined, onFailure: () => undefined });
  listener.addService(HealthDefinition, new HealthService().implementation(calls));
  for (const { definition, implementation } of services(calls)) listener.addService(definition, implementation);
  await listener.start();
  t.teardown(() => listener.stop(0));
  await writeKeyAndCertificate(folder, await issueLeaf(authority, FEDERATION, { org: ORG, role: 'node', name: 'ops' }));
  await writeFile(join(folder, 'ca.crt'), authority.certificate);
  const context = join(folder, 'context.yaml');
  await writeContextFile(context, {
    gateway: listener.address,
    serverName: gatewayDnsName(FEDERATION, ORG, 'gw1'),
    certificate: 'tls.crt',
    key: 'tls.key',
    ca: 'ca.crt',
  });
  return { folder, context };
}
