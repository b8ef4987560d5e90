import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type FedgateClient } from '../client/index.js';
import { addNode } from '../gateway/add-node.js';
import { configTemplate } from '../gateway/config-template.js';
import { writeFileAtomically } from '../identity/files.js';
import { orgFolder } from '../identity/org-folder.js';
import type { RegistryAdminClient } from '../registry/admin-client.js';
import { joinFederation } from '../registry/join.js';
import { openAdminClient } from '../registry/operator.js';
import { initRegistry } from '../registry/server/folder.js';
import { type DemoApprover, makeApprover } from './approver.js';
import { freePort } from './free-port.js';
import { Service } from './processes.js';

export const DEMO_FEDERATION = 'fed.demo';

/** An organisation of the demo. */
export interface DemoOrg {
  readonly name: string;
  readonly folder: string;
  readonly nodeAddress: string;
  readonly peerAddress: string;
  readonly gateway: Service;
  /** The node's name, its context file, and its connection. */
  readonly node: string;
  readonly context: string;
  readonly client: FedgateClient;
  /** Who approves code for it, with a key of their own. */
  readonly approver: DemoApprover;
}

/** Three organisations with a gateway each, a registry, and a node each, all of them processes on this machine. */
export interface DemoWorld {
  readonly folder: string;
  readonly registry: Service;
  readonly registryFolder: string;
  readonly admin: RegistryAdminClient;
  readonly acme: DemoOrg;
  readonly globex: DemoOrg;
  readonly initech: DemoOrg;
  stop(): Promise<void>;
}

/** What each organisation grants. What stands here is what the demo shows; all else is refused. */
const GRANTS = {
  ACME: {
    node: 'billing',
    out: 'pubsub://*/**',
    share: '["*"]',
    peers: '[{ org: GLOBEX, publish: ["invoices/*"] }]',
  },
  GLOBEX: {
    node: 'erp',
    out: 'pubsub://ACME/invoices/*',
    share: '[]',
    peers:
      '[{ org: ACME, publish: ["orders/*", "lines", "ledger/*"], request: ["quotes/*"], streams: ["scanner"], propose: true }]',
  },
  INITECH: { node: 'audit', out: 'pubsub://GLOBEX/**', share: '[]', peers: '[{ org: ACME, propose: true }]' },
} as const;

/** Open to all three. */
const TOPICS = '[{ topic: "prices/*", publish: ["*"], subscribe: ["*"], authors: ["*"], peers: ["*"], relay: true }]';

export async function buildWorld(folder: string, tell: (line: string) => void): Promise<DemoWorld> {
  const registryFolder = join(folder, 'registry');
  await mkdir(join(folder, 'logs'), { recursive: true });
  await initRegistry({
    folder: registryFolder,
    federation: DEMO_FEDERATION,
    listen: await freeAddress(),
    adminListen: await freeAddress(),
  });
  const registry = new Service(
    'registry',
    ['registry', 'serve', '--dir', registryFolder],
    join(folder, 'logs', 'registry.log'),
  );
  const services: Service[] = [registry];
  const clients: FedgateClient[] = [];
  const stop = async (): Promise<void> => {
    for (const client of clients) client.close();
    await Promise.all(services.map(service => service.stop()));
  };
  try {
    const admin = await retry(() => openWorking(registryFolder));
    tell(`registry for ${DEMO_FEDERATION} runs`);
    const join = async (name: keyof typeof GRANTS): Promise<DemoOrg> => {
      const org = await buildOrg(folder, name, admin, services);
      clients.push(org.client);
      tell(`${name} joined with a one-time code: keys made here, gateway at ${org.peerAddress}, node ${org.node}`);
      return org;
    };
    const [acme, globex, initech] = [await join('ACME'), await join('GLOBEX'), await join('INITECH')];
    return {
      folder,
      registry,
      registryFolder,
      admin,
      acme,
      globex,
      initech,
      stop: async () => {
        admin.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function buildOrg(
  root: string,
  name: keyof typeof GRANTS,
  admin: RegistryAdminClient,
  services: Service[],
): Promise<DemoOrg> {
  const { node, out, share, peers } = GRANTS[name];
  const folder = join(root, name.toLowerCase());
  const nodeAddress = await freeAddress();
  const peerAddress = await freeAddress();
  const { code } = await admin.createInvitation(name, 0);
  await joinFederation({ code, folder, addresses: [peerAddress] });
  const approver = await makeApprover(folder, 'alice');
  const config = configTemplate({ gateway: 'gw1', listenNodes: nodeAddress, listenPeers: peerAddress })
    .replace('publish: ["**"] ', `publish: ["**", "${out}"] `)
    .replace('request: ["**"] ', `request: ["**", "${out}"] `)
    .replace('openStreams: ["**"] ', `openStreams: ["**", "${out}"] `)
    .replace('share: [] ', `approvals: [view, propose, vote]\n      share: ${share} `)
    .replace('peers: []', `peers: ${peers}`)
    .replace('topics: []', `topics: ${TOPICS}`);
  const configFile = orgFolder(folder).gatewayConfig;
  await writeFileAtomically(configFile, config);
  const gateway = new Service(
    `${name} gateway`,
    ['gateway', 'run', '--config', configFile],
    join(root, 'logs', `${name.toLowerCase()}.log`),
  );
  services.push(gateway);
  const context = await addNode({ folder, name: node, gateway: 'gw1', address: nodeAddress });
  const client = await connect({ context, connectTimeoutMs: 20_000 });
  return { name, folder, nodeAddress, peerAddress, gateway, node, context, client, approver };
}

/** The registry writes where it listens once it does. */
async function openWorking(folder: string): Promise<RegistryAdminClient> {
  const admin = await openAdminClient(folder);
  try {
    await admin.list();
    return admin;
  } catch (error) {
    admin.close();
    throw error;
  }
}

/** Tries again for up to 20 s. */
export async function retry<T>(attempt: () => Promise<T>): Promise<T> {
  const giveUp = Date.now() + 20_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > giveUp) throw error;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }
}

const freeAddress = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });
