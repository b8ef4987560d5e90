import { ApprovalServiceService } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { DurableServiceService } from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { GatewayServiceService } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { NodeServiceService } from '../../gen/ts/fedgate/gateway/v1/node_service.js';
import { HealthService as HealthDefinition } from '../../gen/ts/grpc/health/v1/health.js';
import { FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import type { OrgName } from '../identity/names.js';
import { CertificateVerifier, type Identity, type TrustDirectory } from '../identity/verify.js';
import type { Acceptor } from '../link/accept.js';
import type { Presence } from '../presence/presence.js';
import type { Directory } from '../registry/directory.js';
import { type ApprovalHost, approvalService } from '../services/approval-service.js';
import { type DurableHost, durableService } from '../services/durable-service.js';
import { federationDefinition, federationService } from '../services/federation-service.js';
import type { FileHost } from '../services/file-host.js';
import { fileDefinition, fileService } from '../services/file-service.js';
import { type GatewayServiceHost, gatewayService } from '../services/gateway-service.js';
import type { HealthService } from '../services/health.js';
import { type MessagingHost, messagingDefinition, messagingService } from '../services/messaging-service.js';
import { type NodeHost, nodeService } from '../services/node-service.js';
import { createReflection } from '../services/reflection.js';
import { type RequestHost, requestDefinition, requestService } from '../services/request-service.js';
import {
  type StoredRequestHost,
  storedRequestDefinition,
  storedRequestService,
} from '../services/stored-request-service.js';
import { type StreamServiceHost, streamDefinition, streamService } from '../services/stream-service.js';
import { type TopicHost, topicDefinition, topicService } from '../services/topic-service.js';
import type { Log } from '../telemetry/log.js';
import { CallWrapper } from '../transport/calls.js';
import { type Connection, Listener } from '../transport/server.js';
import { type Admission, admission, hostOf } from './admission.js';
import { Arrivals } from './arrivals.js';
import type { GatewayConfig } from './config.js';
import type { NodeAuthentication, NodeCaller } from './node-authentication.js';
import type { NodeRevocations } from './node-revocations.js';
import type { Refusals } from './refusals.js';

/** The two doors of a gateway: different ports, different callers, different services. */

export interface ListenerParts {
  readonly config: GatewayConfig;
  readonly identity: KeyAndCertificate;
  readonly org: OrgName;
  readonly directory: Directory;
  readonly log: Log;
  readonly refusals: Refusals;
}

/** What the node listener serves. */
export interface NodeServices {
  readonly messaging: MessagingHost;
  readonly administration: GatewayServiceHost;
  readonly durable: DurableHost;
  readonly files: FileHost;
  readonly approvals: ApprovalHost;
  readonly nodes: NodeHost;
  /** Hears who connects. */
  readonly presence: Presence;
  /** Who may come by something else than a certificate. */
  readonly authentication: NodeAuthentication;
  /** Whose certificate counts no more. */
  readonly revocations: NodeRevocations;
  readonly requests: RequestHost;
  readonly topics: TopicHost;
  readonly stored: StoredRequestHost;
  readonly streams: StreamServiceHost<NodeCaller>;
  readonly health: HealthService;
}

const NODE_WINDOWS = { stream: 4 * 1024 * 1024, connection: 16 * 1024 * 1024 };
/** Each lane is a connection of its own: it may use all of the connection's window. */
export const PEER_WINDOWS = { stream: 32 * 1024 * 1024, connection: 32 * 1024 * 1024 };
const EXPLAINED = [
  'fedgate.messaging.v1.MessagingService',
  'fedgate.messaging.v1.RequestService',
  'fedgate.messaging.v1.TopicService',
  'fedgate.messaging.v1.StoredRequestService',
  'fedgate.messaging.v1.StreamService',
  'fedgate.gateway.v1.GatewayService',
  'fedgate.gateway.v1.DurableService',
  'fedgate.files.v1.FileService',
  'fedgate.approvals.v1.ApprovalService',
  'fedgate.gateway.v1.NodeService',
  'grpc.health.v1.Health',
];

/** For nodes of the own organisation: messaging, files, approvals, status and diagnosis, health, reflection. */
export function makeNodeListener(parts: ListenerParts, federation: string, services: NodeServices): Listener {
  const { config, identity, org, directory, log, refusals } = parts;
  const verifier = new CertificateVerifier(federation, ownTrust(directory, org, services.revocations));
  const certificates = admission({ verifier, log, refusals, role: 'node', ownOrg: org });
  const arrivals = new Arrivals(services.presence);
  const { authentication } = services;
  const policy = authentication.policy(certificates, (caller, remote) => arrivals.seen(caller, remote));
  const listener = new Listener({
    name: 'node listener',
    listen: config.listen.nodes,
    identity,
    authorities: ownAuthorities(directory, org),
    windows: NODE_WINDOWS,
    maxConcurrentStreams: 1_000,
    onHandshakeRefused: (error, remote) => handshakeRefused(refusals, 'nodes', error, remote),
    onConnection: connection => nodeArrived(connection, certificates, verifier, arrivals),
    allowAnonymous: authentication.takesTokens,
    certificatesMustHold: true,
  });
  const calls = new CallWrapper<NodeCaller>(policy);
  listener.addService(messagingDefinition, messagingService(calls, services.messaging));
  listener.addService(requestDefinition, requestService(calls, services.requests));
  listener.addService(topicDefinition, topicService(calls, services.topics));
  listener.addService(storedRequestDefinition, storedRequestService(calls, services.stored));
  listener.addService(streamDefinition, streamService(calls, services.streams));
  listener.addService(GatewayServiceService, gatewayService(calls, services.administration));
  listener.addService(DurableServiceService, durableService(calls, services.durable));
  listener.addService(fileDefinition, fileService(calls, services.files));
  listener.addService(ApprovalServiceService, approvalService(calls, services.approvals));
  listener.addService(NodeServiceService, nodeService(calls, services.nodes));
  listener.addService(HealthDefinition, services.health.implementation(calls));
  for (const { definition, implementation } of Object.values(createReflection(calls, { services: EXPLAINED }))) {
    listener.addService(definition, implementation as never);
  }
  for (const service of EXPLAINED) services.health.set(service, true);
  return listener;
}

/** Whoever may not call here is not there either: its calls are refused, and that is where it is logged. */
function nodeArrived(
  connection: Connection,
  policy: Admission,
  verifier: CertificateVerifier,
  arrivals: Arrivals,
): void {
  if (!connection.certificate) return arrivals.anonymous(connection);
  let identity: Identity;
  try {
    identity = policy.authenticate(connection.certificate);
  } catch {
    return;
  }
  arrivals.certified(connection, identity, () => verifier.stillGood(identity));
}

/** For gateways of the other members: links, and nothing else. */
export function makePeerListener(parts: ListenerParts, verifier: CertificateVerifier, acceptor: Acceptor): Listener {
  const { config, identity, org, directory, log, refusals } = parts;
  const listener = new Listener({
    name: 'peer listener',
    listen: config.listen.peers,
    identity,
    authorities: directory.authoritiesPem(),
    windows: PEER_WINDOWS,
    maxConcurrentStreams: 16,
    onHandshakeRefused: (error, remote) => handshakeRefused(refusals, 'peers', error, remote),
  });
  const calls = new CallWrapper(admission({ verifier, log, refusals, role: 'gateway', ownOrg: org }));
  listener.addService(federationDefinition, federationService(calls, acceptor));
  return listener;
}

/** TLS refused a caller before any call: with a stranger's certificate, an expired one, or none. */
function handshakeRefused(refusals: Refusals, listener: 'nodes' | 'peers', error: Error, remote: string): void {
  const why = opensslReason(error.message);
  const reason = why === 'peer did not return a certificate' ? 'CERTIFICATE_MISSING' : 'CERTIFICATE_UNTRUSTED';
  refusals.write(new FedgateError(reason, `the TLS handshake failed: ${why}`), hostOf(remote), { listener, remote });
}

/** OpenSSL's words without its file names and codes. */
const opensslReason = (message: string): string =>
  /:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(message)?.[1] ?? message;

/** PEM of the own CAs. */
export const ownAuthorities = (directory: Directory, org: OrgName): string[] =>
  directory.member(org)?.profile.authorities.map(ca => ca.toString()) ?? [];

/** Nodes of the own organisation are served whatever the federation thinks of it at the moment. */
export function ownTrust(
  directory: Directory,
  ownOrg: OrgName,
  revocations: Pick<NodeRevocations, 'isRevoked'>,
): TrustDirectory {
  const isRevoked = revocations.isRevoked.bind(revocations);
  const own = () => {
    const trust = directory.trust(ownOrg);
    return trust && { ...trust, active: true, isRevoked };
  };
  return {
    trust: org => (org === ownOrg ? own() : undefined),
    *all() {
      const trust = own();
      if (trust) yield trust;
    },
  };
}
