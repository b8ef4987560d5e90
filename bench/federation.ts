import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../src/demo/free-port.js';
import { issueLeaf, type KeyAndCertificate } from '../src/identity/issue.js';
import type { OrgName } from '../src/identity/names.js';
import { orgFolder } from '../src/identity/org-folder.js';
import { gatewayDnsName } from '../src/identity/subject.js';
import { joinFederation } from '../src/registry/join.js';
import { openAdminClient } from '../src/registry/operator.js';
import { initRegistry, readPairIn } from '../src/registry/server/folder.js';
import { startRegistry } from '../src/registry/server/server.js';
import { FEDERATION } from './identities.js';

/** A member, ready for its gateway to be started from `config`, and a node of it. */
export interface BenchOrg {
  readonly org: OrgName;
  readonly folder: string;
  /** The configuration file of its gateway. */
  readonly config: string;
  readonly node: Node;
}

/** What a client connects with. */
export interface Node {
  /** The gateway's node listener. */
  readonly address: string;
  readonly serverName: string;
  readonly identity: KeyAndCertificate;
  readonly authorities: readonly string[];
}

export interface BenchFederation extends AsyncDisposable {
  readonly acme: BenchOrg;
  readonly globex: BenchOrg;
  /** One more member. */
  join(name: string): Promise<BenchOrg>;
}

/** The addresses a member tells others of, given where its peer listener is going to be. None: it only dials. */
export type Reach = (peers: string) => Promise<readonly string[]>;

const direct: Reach = async peers => [peers];

/**
 * A registry in this process and two members in a temporary folder, joined by invitation as members are. Gateways are not started.
 *
 * Unless `reach` says otherwise the two reach each other directly.
 */
export async function createFederation(
  reach: { readonly acme?: Reach; readonly globex?: Reach } = {},
): Promise<BenchFederation> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-'));
  const registryFolder = join(folder, 'registry');
  await initRegistry({
    folder: registryFolder,
    federation: FEDERATION,
    listen: '127.0.0.1:0',
    adminListen: '127.0.0.1:0',
  });
  const log = { info: () => undefined, warn: console.error, error: console.error };
  const registry = await startRegistry({ folder: registryFolder, log });
  const admin = await openAdminClient(registryFolder);
  const join_ = async (name: string, reached = direct): Promise<BenchOrg> => {
    const { code } = await admin.createInvitation(name, 0);
    return await joinOrg(name as OrgName, code, join(folder, name), reached);
  };
  return {
    acme: await join_('ACME', reach.acme),
    globex: await join_('GLOBEX', reach.globex),
    join: name => join_(name),
    async [Symbol.asyncDispose]() {
      admin.close();
      await registry.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function joinOrg(org: OrgName, code: string, folder: string, reached: Reach): Promise<BenchOrg> {
  const nodes = `127.0.0.1:${await freePort()}`;
  const peers = `127.0.0.1:${await freePort()}`;
  await joinFederation({ code, folder, addresses: await reached(peers) });
  const paths = orgFolder(folder);
  await writeFile(paths.gatewayConfig, gatewayConfig(nodes, peers));
  const authority = await readPairIn(paths.authority);
  return {
    org,
    folder,
    config: paths.gatewayConfig,
    node: {
      address: nodes,
      serverName: gatewayDnsName(FEDERATION, org, 'gw1'),
      identity: await issueLeaf(authority, FEDERATION, { org, role: 'node', name: 'bench' }),
      authorities: [authority.certificate],
    },
  };
}

/** Everybody may do everything. Only errors are logged: that a peer is away is part of what is measured. */
const gatewayConfig = (nodes: string, peers: string): string => `listen: { nodes: "${nodes}", peers: "${peers}" }
log: { level: error }
access:
  nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], request: ["**", "pubsub://*/**"], respond: ["**"], openStreams: ["pubsub://*/**"], acceptStreams: ["**"], share: ["*"], fetch: ["*"], approvals: [view, propose, vote], status: true, admin: true }]
  peers: [{ org: "*", publish: ["**"], request: ["**"], streams: ["**"], propose: true }]
`;
