import type { KeyAndCertificate } from '../identity/issue.js';
import type { OrgName } from '../identity/names.js';
import type { CertificateVerifier } from '../identity/verify.js';
import type { DeliveryOutcome } from '../messaging/router.js';
import type { Directory } from '../registry/directory.js';
import { Acceptor } from './accept.js';
import type { OutgoingBatch } from './batch.js';
import { type DialTarget, dialLink } from './dial.js';
import { Link, type LinkParts, type LinkSettings } from './link.js';
import { Peer, type PeerHost } from './peer.js';

export interface PeersOptions extends LinkSettings {
  readonly identity: KeyAndCertificate;
  readonly verifier: CertificateVerifier;
  readonly directory: Directory;
  readonly dialTimeoutMs: number;
  /** Hears of every change of a peer's state. */
  readonly onState: (peer: Peer) => void;
}

/** All other organisations this gateway has or wants a link to. */
export class Peers {
  readonly acceptor: Acceptor;
  readonly #options: PeersOptions;
  readonly #peers = new Map<OrgName, Peer>();
  readonly #host: PeerHost;
  readonly #unsubscribe: () => void;

  constructor(options: PeersOptions) {
    this.#options = options;
    const { self } = options;
    this.#host = {
      selfId: `${self.org}/${self.gateway}`,
      targets: org => this.#targets(org),
      dial: async (target, signal) =>
        this.#link(await dialLink(target, { ...options, timeoutMs: options.dialTimeoutMs }, signal)),
      trusts: peer => options.verifier.stillGood(peer),
      onState: options.onState,
    };
    this.acceptor = new Acceptor({
      self,
      mayLink: (peer, instance) => this.#peer(peer.org).checkIncoming(instance),
      linked: parts => this.#peer(parts.peer.org).adopt(this.#link(parts)),
    });
    this.#unsubscribe = options.directory.onChange(() => {
      for (const peer of this.#peers.values()) peer.membershipChanged();
    });
  }

  /** As Peer.send. Throws ORG_UNKNOWN, ORG_INACTIVE, SNAPSHOT_EXPIRED. */
  send(org: OrgName, batch: OutgoingBatch): Promise<DeliveryOutcome> {
    const known = this.#peers.get(org);
    if (known?.state === 'up') return known.send(batch);
    this.#targets(org);
    return this.#peer(org).send(batch);
  }

  /** Keeps a link to an organisation from now on. */
  want(org: OrgName): void {
    this.#peer(org).want();
  }

  all(): Peer[] {
    return [...this.#peers.values()].sort((a, b) => (a.org < b.org ? -1 : 1));
  }

  /** Snapshots end without anybody changing anything: whoever is linked is judged again. */
  recheck(): void {
    for (const peer of this.#peers.values()) peer.membershipChanged();
  }

  async close(graceMs: number): Promise<void> {
    this.#unsubscribe();
    await Promise.all([...this.#peers.values()].map(peer => peer.close(graceMs)));
  }

  #peer(org: OrgName): Peer {
    let peer = this.#peers.get(org);
    if (!peer) {
      peer = new Peer(org, this.#host);
      this.#peers.set(org, peer);
    }
    return peer;
  }

  #link(parts: LinkParts): Link {
    return new Link(parts, this.#options);
  }

  #targets(org: OrgName): DialTarget[] {
    const member = this.#options.directory.activeMember(org);
    const authorities = member.profile.authorities.map(ca => ca.toString());
    return member.profile.gateways.flatMap(({ name, addresses }) =>
      addresses.map(address => ({ org, gateway: name, address, authorities })),
    );
  }
}
