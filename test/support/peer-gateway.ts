import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { FedgateError } from '../../src/errors.js';
import { PEER_WINDOWS } from '../../src/gateway/listeners.js';
import { createAuthority, issueLeaf, type KeyAndCertificate } from '../../src/identity/issue.js';
import { type OrgName, parseHostPort } from '../../src/identity/names.js';
import { CertificateVerifier, type Identity, type MemberTrust } from '../../src/identity/verify.js';
import type { DurableHost } from '../../src/link/durable-session.js';
import type { FilesHost } from '../../src/link/files-terms.js';
import type { NodesHost } from '../../src/link/nodes-terms.js';
import { Peers } from '../../src/link/peers.js';
import type { Directory } from '../../src/registry/directory.js';
import { federationDefinition, federationService } from '../../src/services/federation-service.js';
import { CallWrapper } from '../../src/transport/calls.js';
import { Listener } from '../../src/transport/server.js';
import { FEDERATION, type TestScope } from './registry.js';

export interface Member {
  readonly authority: KeyAndCertificate;
  readonly identity: KeyAndCertificate;
  readonly trust: MemberTrust;
}

/** Who there is and where: what a registry would know. */
export class Members {
  readonly #members = new Map<string, Member>();
  /** Where each may be dialled. */
  readonly addresses = new Map<string, readonly string[]>();

  async add(org: OrgName): Promise<Member> {
    const authority = await createAuthority(FEDERATION, org);
    const identity = await issueLeaf(authority, FEDERATION, { org, role: 'gateway', name: 'gw1' });
    const trust = { org, active: true, authorities: [new X509Certificate(authority.certificate)] };
    const member = { authority, identity, trust };
    return this.put(org, member);
  }

  /** One that was made in another process. */
  put(org: OrgName, member: Member): Member {
    this.#members.set(org, member);
    return member;
  }

  get pem(): string[] {
    return [...this.#members.values()].map(({ authority }) => authority.certificate);
  }

  /** What links ask a directory. */
  get directory(): Directory {
    const trusts = (): MemberTrust[] => [...this.#members.values()].map(({ trust }) => trust);
    return {
      onChange: () => () => undefined,
      trust: (org: string) => this.#members.get(org)?.trust,
      all: trusts,
      activeMember: (org: string) => {
        const member = this.#members.get(org);
        if (!member) throw new FedgateError('ORG_UNKNOWN', `${org} is no member`);
        const gateways = [{ name: 'gw1', addresses: this.addresses.get(org) ?? [] }];
        return { profile: { authorities: member.trust.authorities, gateways } };
      },
    } as unknown as Directory;
  }
}

export interface PeerGatewayOptions {
  readonly durable?: DurableHost;
  /** Whether it has a lane for each direction. @default true */
  readonly split?: boolean;
  /** Undefined: as a gateway that tells of no nodes. */
  readonly nodes?: NodesHost;
}

/** The half of a gateway that other gateways see: links over TLS, and nothing behind them. */
export class PeerGateway {
  readonly org: OrgName;
  readonly peers: Peers;
  readonly identity: KeyAndCertificate;
  readonly #listener: Listener;

  private constructor(org: OrgName, peers: Peers, identity: KeyAndCertificate, listener: Listener) {
    this.org = org;
    this.peers = peers;
    this.identity = identity;
    this.#listener = listener;
  }

  /** Add all members first. `files` undefined: as a gateway of an earlier version. */
  static async open(
    t: TestScope,
    members: Members,
    org: OrgName,
    { identity }: Member,
    files: FilesHost | undefined,
    { durable, split = true, nodes }: PeerGatewayOptions = {},
  ): Promise<PeerGateway> {
    const verifier = new CertificateVerifier(FEDERATION, members.directory);
    const peers = new Peers({
      self: {
        federation: FEDERATION,
        org,
        gateway: 'gw1',
        software: 'test',
        instanceId: randomBytes(16),
        snapshotVersion: () => 1n,
        split,
      },
      signingKey: createPrivateKey(identity.key),
      heartbeat: { intervalMs: 5_000, deadAfterMs: 60_000 },
      receive: () => async () => ({ subscribers: 1, dropped: 0 }),
      identity,
      verifier,
      directory: members.directory,
      dialTimeoutMs: 20_000,
      durable,
      files,
      nodes,
      onState: () => undefined,
    });
    const listener = new Listener({
      name: 'peer listener',
      listen: parseHostPort('127.0.0.1:0', 'listen', { allowPortZero: true }),
      identity,
      authorities: members.pem,
      windows: PEER_WINDOWS,
      maxConcurrentStreams: 16,
    });
    const calls = new CallWrapper<Identity>({
      authenticate(certificate) {
        if (!certificate) throw new FedgateError('CERTIFICATE_MISSING', 'no certificate was shown');
        return verifier.identify(certificate.fingerprint, () => certificate.read());
      },
      onFailure: () => undefined,
    });
    listener.addService(federationDefinition, federationService(calls, peers.acceptor));
    await listener.start();
    const gateway = new PeerGateway(org, peers, identity, listener);
    t.teardown(() => gateway.stop());
    return gateway;
  }

  get address(): string {
    return this.#listener.address;
  }

  async stop(): Promise<void> {
    await this.peers.close(0);
    await this.#listener.stop(0);
  }
}
