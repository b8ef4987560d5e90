import { createPublicKey, X509Certificate } from 'node:crypto';
import { REQUESTS_CHANNEL } from '../durable/control.js';
import { FedgateError } from '../errors.js';
import type { RemoteShares } from '../files/types.js';
import { readKeyAndCertificate } from '../identity/files.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { type Membership, orgFolder, readMembership } from '../identity/org-folder.js';
import { subjectOfLeaf } from '../identity/verify.js';
import type { Peers } from '../link/peers.js';
import { cannotAsk } from '../link/refetches.js';
import { Access } from '../messaging/access.js';
import type { Policy } from '../policy/types.js';
import { Directory, snapshotFile } from '../registry/directory.js';
import type { StoredRequests } from '../requests/stored/stored-requests.js';
import type { Log } from '../telemetry/log.js';
import { Approvals } from './approvals.js';
import { type GatewayConfig, gatewayFiles } from './config.js';
import { Durability } from './durable.js';
import { Files, type FilesParts } from './files.js';
import { Groups } from './groups.js';
import { NodeAuthentication } from './node-authentication.js';
import { NodeRevocations } from './node-revocations.js';
import { Nodes } from './nodes.js';
import { openPolicy } from './policy.js';
import { Refusals } from './refusals.js';
import { RememberedPeers } from './remembered-peers.js';
import { Requests } from './requests.js';
import { Topics } from './topics.js';

/**
 * Opens all that a gateway keeps, in the order in which one needs the other; when something does not open, what was opened before is closed.
 *
 * Throws as startGateway does.
 */
export async function openParts(config: GatewayConfig, log: Log): Promise<Parts> {
  const files = gatewayFiles(config);
  const membership = await readMembership(config.folder);
  const identity = await readKeyAndCertificate(files.key, files.certificate);
  checkOwnCertificate(identity, membership, config.gateway);
  const directory = await loadDirectory(membership, files.state, log);
  const revocations = await NodeRevocations.open(orgFolder(config.folder).revokedNodes, log);
  const remembered = await RememberedPeers.load(files.state);
  const nodes = await Nodes.open(files.state);
  const { policy, close: closePolicy } = await openPolicy(
    config.policy,
    { federation: membership.federation, org: membership.org, gateway: config.gateway },
    log,
  );
  const authentication = await NodeAuthentication.open(config.authentication, log);
  const origin: Origin = { ask: () => Promise.reject(cannotAsk()) };
  const { federation, org } = membership;
  const heard: { approvals?: Approvals; stored?: StoredRequests } = {};
  const durable = await Durability.open(
    {
      state: files.state,
      self: { federation, org, gateway: config.gateway },
      ...{ identity, log, config: config.durable },
      controlRefused: (refused, change) => {
        const { org: by, channel, payloads, error } = refused;
        if (channel === REQUESTS_CHANNEL)
          return heard.stored?.refused(by, payloads, error, change) ?? (() => undefined);
        return heard.approvals?.refused(refused, change) ?? (() => undefined);
      },
    },
    (from, position) => origin.ask(from, position),
  );
  const access = new Access(org, config.access);
  const refusals = new Refusals(log);
  const remote: Remote = { open: () => Promise.reject(noLinks()) };
  const approvals = await orClose([durable], () =>
    Approvals.open({
      ...{ federation, org, gateway: config.gateway, identity, directory, access, log, refusals },
      store: durable.store,
      outbox: to => (isMember(directory, to) ? durable.outboxes.of(to) : undefined),
    }),
  );
  heard.approvals = approvals;
  const groups = new Groups({ org, groups: config.groups, directory });
  const requests = new Requests(org, access, policy, refusals);
  const stored = await orClose([approvals, durable], () =>
    requests.openStored({
      ...{ store: durable.store, log },
      outbox: to => (isMember(directory, to) ? durable.outboxes.of(to) : undefined),
      checkMember: to => {
        if (!isMember(directory, to)) directory.activeMember(to);
      },
    }),
  );
  heard.stored = stored;
  const filesParts: FilesParts = {
    state: files.state,
    policy,
    store: durable.store,
    org,
    config,
    groups,
    log,
    remote: { open: (...request) => remote.open(...request) },
    isApproved: sha256 => approvals.book.isApproved(sha256),
    onAlarm: (error, from) => refusals.write(error, from, { org: from }, true),
  };
  const filesOf = await orClose([stored, approvals, durable], () => Files.open(filesParts));
  const topics = await orClose([filesOf, stored, approvals, durable], () =>
    Topics.open({ federation, org, config, policy, identity, directory, store: durable.store, refusals, log }),
  );
  const kept = {
    ...{ policy, closePolicy, authentication, revocations },
    ...{ directory, remembered, nodes, durable, approvals, requests, stored, files: filesOf, topics, groups },
  };
  return { config, log, membership, identity, access, refusals, ...kept, origin, remote };
}

/** Where shares of others are opened, once there are links. */
interface Remote {
  open: RemoteShares['open'];
}

const noLinks = (): FedgateError => new FedgateError('PEER_UNREACHABLE', 'the gateway is about to start');

/** When it fails, what was opened before is closed, in this order. */
async function orClose<T>(opened: readonly { close(): Promise<void> }[], open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    for (const each of opened) await each.close();
    throw error;
  }
}

/** The way back to where a batch came from; there is one once there are links. */
interface Origin {
  ask: Peers['refetch'];
}

function checkOwnCertificate(
  { certificate }: KeyAndCertificate,
  { federation, org }: Membership,
  gateway: string,
): void {
  const subject = subjectOfLeaf(new X509Certificate(certificate), federation);
  if (subject.org === org && subject.role === 'gateway' && subject.name === gateway) return;
  throw new FedgateError(
    'CONFIG_INVALID',
    `gateway ${gateway} of ${org} is configured, but the certificate is ${subject.org}'s ${subject.role} ${subject.name}`,
  );
}

function loadDirectory({ federation, registry }: Membership, stateFolder: string, log: Log): Promise<Directory> {
  return Directory.load(snapshotFile(stateFolder), {
    federation,
    snapshotKey: createPublicKey({ key: Buffer.from(registry.snapshotKey), format: 'der', type: 'spki' }),
    onProblem: (message, cause) => log.warn({ err: cause }, message),
  });
}

/** What a gateway is made of, beside its listeners and links. */
export interface Parts {
  readonly config: GatewayConfig;
  readonly log: Log;
  readonly membership: Membership;
  readonly identity: KeyAndCertificate;
  readonly directory: Directory;
  readonly remembered: RememberedPeers;
  readonly nodes: Nodes;
  readonly policy: Policy;
  readonly closePolicy: () => void;
  readonly authentication: NodeAuthentication;
  readonly revocations: NodeRevocations;
  readonly durable: Durability;
  readonly access: Access;
  readonly refusals: Refusals;
  readonly approvals: Approvals;
  readonly requests: Requests;
  readonly stored: StoredRequests;
  readonly files: Files;
  readonly groups: Groups;
  readonly topics: Topics;
  readonly origin: Origin;
  readonly remote: Remote;
}

/** Whether an organisation takes part, or may again one day. */
export function isMember(directory: Directory, org: string): boolean {
  const state = directory.member(org)?.state;
  return state === 'active' || state === 'suspended';
}
