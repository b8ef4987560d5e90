import type { createPublicKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeyAndCertificate } from '../../src/identity/issue.js';
import { type Membership, orgFolder, readMembership } from '../../src/identity/org-folder.js';
import type { RegistryAdminClient } from '../../src/registry/admin-client.js';
import { RegistryClient } from '../../src/registry/client.js';
import { joinFederation, readSnapshotKey } from '../../src/registry/join.js';
import { openAdminClient } from '../../src/registry/operator.js';
import { initRegistry, readPairIn } from '../../src/registry/server/folder.js';
import { type RegistryLog, type RegistryServerOptions, startRegistry } from '../../src/registry/server/server.js';

/** What a test tells when it is over: ava's `t` is one. */
export interface TestScope {
  teardown(undo: () => unknown): void;
}

export const FEDERATION = 'fed.example';

export const silentLog: RegistryLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A folder that is gone after the test. */
export async function temporaryFolder(t: TestScope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export interface TestRegistry {
  readonly folder: string;
  readonly address: string;
  readonly adminAddress: string;
  readonly admin: RegistryAdminClient;
  invite(org: string): Promise<string>;
  /** Stops it, as its operator would. */
  stop(): Promise<void>;
  /** Starts it again on the same port, with the same folder. */
  start(): Promise<void>;
}

/** A registry on a port of its own, stopped after the test. */
export async function startTestRegistry(
  t: TestScope,
  options: Partial<RegistryServerOptions> & { readonly federation?: string } = {},
): Promise<TestRegistry> {
  const { federation = FEDERATION, ...rest } = options;
  const folder = join(await temporaryFolder(t), 'registry');
  await initRegistry({ folder, federation, listen: '127.0.0.1:0', adminListen: '127.0.0.1:0' });
  let running = await startRegistry({ folder, log: silentLog, ...rest });
  const { address, adminAddress } = running;
  const admin = await openAdminClient(folder);
  t.teardown(async () => {
    admin.close();
    await running.stop();
  });
  return {
    folder,
    address,
    adminAddress,
    admin,
    invite: async org => (await admin.createInvitation(org, 0)).code,
    stop: () => running.stop(),
    start: async () => {
      running = await startRegistry({ folder, log: silentLog, ...rest, listen: address, adminListen: adminAddress });
    },
  };
}

/** Invites an organisation and joins it; returns its folder. */
export async function joinOrg(
  t: TestScope,
  registry: TestRegistry,
  org: string,
  { addresses = [], gatewayName = 'gw1' }: { addresses?: readonly string[]; gatewayName?: string } = {},
): Promise<string> {
  const folder = join(await temporaryFolder(t), org.toLowerCase());
  await joinFederation({ code: await registry.invite(org), folder, addresses, gatewayName });
  return folder;
}

/** A client with the certificate of an organisation's gateway, or with another one. Closed after the test. */
export async function memberClient(
  t: TestScope,
  folder: string,
  { gatewayName = 'gw1', identity }: { gatewayName?: string; identity?: KeyAndCertificate | undefined } = {},
): Promise<RegistryClient> {
  const { federation, registry } = await readMembership(folder);
  const { addresses, certificate } = registry;
  const own = identity ?? (await readPairIn(orgFolder(folder).gateway(gatewayName)));
  const client = new RegistryClient({ federation, addresses, certificate, identity: own });
  t.teardown(() => client.close());
  return client;
}

/** What a directory of this organisation goes by. */
export async function snapshotRules(
  folder: string,
): Promise<{ membership: Membership; federation: string; snapshotKey: ReturnType<typeof createPublicKey> }> {
  const membership = await readMembership(folder);
  return {
    membership,
    federation: membership.federation,
    snapshotKey: readSnapshotKey(membership.registry.snapshotKey),
  };
}
