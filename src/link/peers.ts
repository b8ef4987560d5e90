import type { StreamId, StreamPosition } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import type { Download, DownloadRequest } from '../files/types.js';
import type { Finder } from '../finding/finder.js';
import { registeredAddresses } from '../finding/static.js';
import type { AddressHint } from '../finding/types.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import type { OrgName } from '../identity/names.js';
import type { CertificateVerifier } from '../identity/verify.js';
import type { DeliveryOutcome } from '../messaging/router.js';
import type { Directory } from '../registry/directory.js';
import type { Asked } from '../requests/asked.js';
import { blockOf, type RecordBlock } from '../wire/records.js';
import { Acceptor } from './accept.js';
import { Acquaintance } from './acquaintance.js';
import type { AcquaintanceHost } from './acquaintance-terms.js';
import type { OutgoingBatch } from './batch.js';
import { type DialTarget, dialLink } from './dial.js';
import { DurableLanes } from './durable-lanes.js';
import type { DurableHost } from './durable-session.js';
import { ExtraLanes } from './extra-lanes.js';
import { FilesLanes } from './files-lanes.js';
import type { FilesHost } from './files-terms.js';
import { Link, type LinkParts, type LinkSettings } from './link.js';
import type { NodesMirror } from './nodes-mirror.js';
import { Peer, type PeerHost } from './peer.js';
import { cannotAsk } from './refetches.js';
import { StreamsLanes } from './streams-lanes.js';
import type { StreamsHost, StreamsLink } from './streams-link.js';
import { targetsOf } from './targets.js';
import { type TopicsLaneHost, topicsDoor } from './topics-lanes.js';

export interface PeersOptions extends LinkSettings {
  readonly identity: KeyAndCertificate;
  readonly verifier: CertificateVerifier;
  readonly directory: Directory;
  readonly dialTimeoutMs: number;
  /** Says where organisations may be. Undefined: the registry alone. */
  readonly finder?: Finder | undefined;
  /** Undefined: links have no durable lane. */
  readonly durable?: DurableHost | undefined;
  /** Undefined: links have no files lane. */
  readonly files?: FilesHost | undefined;
  /** Undefined: nothing is passed on about other members. */
  readonly acquaintance?: AcquaintanceHost | undefined;
  /** Undefined: links have no topics lane. */
  readonly topics?: TopicsLaneHost | undefined;
  /** Undefined: links have no streams lanes. */
  readonly streams?: StreamsHost | undefined;
  /** Hears of every change of a peer's state. */
  readonly onState: (peer: Peer) => void;
}

/** How long a peer has to tell all its nodes, milliseconds. */
export const NODES_TIMEOUT_MS = 10_000;

/** All other organisations this gateway has or wants a link to. */
export class Peers {
  readonly acceptor: Acceptor;
  readonly #options: PeersOptions & Pick<LinkSettings, 'acquaintances'>;
  readonly #acquaintances: Acquaintance | undefined;
  readonly #peers = new Map<OrgName, Peer>();
  readonly #host: PeerHost;
  readonly #unsubscribe: () => void;
  readonly #durable: DurableLanes | undefined;
  readonly #files: FilesLanes | undefined;
  readonly #streams: StreamsLanes | undefined;

  constructor(options: PeersOptions) {
    const self = {
      ...options.self,
      durable: options.durable !== undefined,
      files: options.files !== undefined,
      streams: options.streams !== undefined,
      presence: options.nodes !== undefined,
      requests: options.requests !== undefined && (options.self.requests ?? true),
      acquaintance: options.acquaintance !== undefined,
      topics: options.topics !== undefined,
    };
    this.#acquaintances = options.acquaintance && new Acquaintance(options.acquaintance, org => this.#placesOf(org));
    const settings = { ...options, self, acquaintances: this.#acquaintances };
    this.#options = settings;
    this.#durable = options.durable && new DurableLanes(options.durable, self, options.signingKey);
    this.#files = options.files && new FilesLanes(options.files);
    const topics = options.topics ? [topicsDoor(options.topics)] : [];
    this.#streams = options.streams && new StreamsLanes(options.streams);
    const doors = [...[this.#durable, this.#files, this.#streams].flatMap(lanes => lanes?.doors ?? []), ...topics];
    const extra = new ExtraLanes(doors, { self, linkTo: org => this.#peers.get(org)?.link });
    this.#host = {
      selfId: `${self.org}/${self.gateway}`,
      targets: org => this.#targets(org),
      ...this.#looking(options.finder),
      dial: async (target, signal) =>
        this.#link(await dialLink(target, { ...settings, timeoutMs: options.dialTimeoutMs }, signal)),
      complaint: peer => options.verifier.complaint(peer),
      onState: options.onState,
      onLink: link => {
        this.#files?.linked(link);
        this.#streams?.linked(link);
        extra.open(link);
      },
      isUrgent: org => {
        if (this.#files?.isAwaited(org) || this.#streams?.isAwaited(org)) return true;
        const outbox = options.durable?.outbox(org);
        return outbox !== undefined && outbox.waiting.batches > 0 && !outbox.paused;
      },
    };
    this.acceptor = new Acceptor({
      self,
      mayLink: (peer, instance) => this.#peer(peer.org).checkIncoming(instance),
      linked: parts => this.#peer(parts.peer.org).adopt(this.#link(parts)),
      extra,
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

  /**
   * Asks nodes of another organisation; `asked` hears what becomes of it. Returns what ends the waiting. Makes a link when there is none, and
   * waits for it as Peer.send. Throws ORG_UNKNOWN, ORG_INACTIVE, SNAPSHOT_EXPIRED.
   */
  ask(org: OrgName, asked: Asked): () => void {
    if (this.#peers.get(org)?.state !== 'up') this.#targets(org);
    let over = false;
    let giveUp = (): void => undefined;
    const use = (link: Link): void => {
      if (!over) giveUp = link.ask(asked);
    };
    this.#peer(org).withLink(asked.record.bytes.length, use, error => {
      if (!over) asked.fail(error as FedgateError);
    });
    return () => {
      over = true;
      giveUp();
    };
  }

  /** Keeps a link to an organisation from now on. */
  want(org: OrgName): void {
    this.#peer(org).want();
  }

  /** Something durable waits for an organisation: a link to it is made, and until there is one it is dialled often. */
  waiting(org: OrgName): void {
    this.#peer(org).waiting();
  }

  /**
   * The records of a batch that came on a stream, from its origin. Undefined: it has them no longer. Rejects with PEER_UNREACHABLE while it
   * cannot be asked.
   */
  async refetch(from: StreamId, position: StreamPosition): Promise<RecordBlock | undefined> {
    if (!this.#durable) throw cannotAsk();
    const bytes = await this.#durable.refetch(from, position);
    return bytes && blockOf(bytes);
  }

  /**
   * Opens a share of another organisation for a node of the own one; see RemoteShares. Makes a link when there is none, and waits for it for
   * a while. Throws ORG_UNKNOWN, ORG_INACTIVE, SNAPSHOT_EXPIRED too.
   */
  async openShare(org: OrgName, node: string, request: DownloadRequest, signal: AbortSignal): Promise<Download> {
    const lanes = this.#files;
    if (!lanes) throw new FedgateError('FEATURE_UNSUPPORTED', 'this gateway has no files');
    if (!this.#peers.get(org)?.link?.usable) this.#targets(org);
    const peer = this.#peer(org);
    const session = lanes.session(org, signal, () => peer.lastError);
    peer.waiting();
    return (await session).ask(node, request, signal);
  }

  /**
   * The streams of the link to another organisation. Makes a link when there is none, and waits for it until `signal` fires. Throws ORG_UNKNOWN,
   * ORG_INACTIVE, SNAPSHOT_EXPIRED, FEATURE_UNSUPPORTED, PEER_UNREACHABLE.
   */
  async streamLink(org: OrgName, signal: AbortSignal): Promise<StreamsLink> {
    const lanes = this.#streams;
    if (!lanes) throw new FedgateError('FEATURE_UNSUPPORTED', 'this gateway knows no byte streams');
    if (!this.#peers.get(org)?.link?.usable) this.#targets(org);
    const peer = this.#peer(org);
    const streams = lanes.streams(org, signal);
    peer.waiting();
    return streams;
  }

  /**
   * Asks which nodes of an organisation one of the own may know of, and resolves once all are known. Makes a link when there is none, as `send`
   * does. Throws ORG_UNKNOWN, ORG_INACTIVE, SNAPSHOT_EXPIRED, PEER_UNREACHABLE, FEATURE_UNSUPPORTED, LIMIT_REACHED.
   */
  async askNodes(org: OrgName, asker: string, signal: AbortSignal, node?: string): Promise<NodesMirror> {
    if (!this.#peers.get(org)?.link?.usable) this.#targets(org);
    const link = await this.#peer(org).linked(signal);
    const nodes = link.askNodes(asker, node);
    try {
      await nodes.complete(signal, NODES_TIMEOUT_MS);
      return nodes;
    } catch (error) {
      nodes.close();
      throw error;
    }
  }

  /** What peers say of where an organisation is. Throws PEER_UNREACHABLE when none can be asked. */
  async askPlaces(org: OrgName): Promise<readonly AddressHint[]> {
    return (await this.#acquaintances?.askPlaces(org)) ?? [];
  }

  /** Undefined: nobody has asked for a link to it. */
  get(org: OrgName): Peer | undefined {
    return this.#peers.get(org);
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
    this.#acquaintances?.close();
    this.#files?.close();
    await Promise.all([...this.#peers.values()].map(peer => peer.close(graceMs)));
  }

  /** Where this gateway itself got through to a member that takes part. */
  #placesOf(org: string): readonly AddressHint[] {
    const place = this.#peers.get(org as OrgName)?.reachedAt;
    const active = this.#options.directory.trust(org)?.active === true;
    return place && active ? [place] : [];
  }

  #looking(finder: Finder | undefined): Pick<PeerHost, 'find' | 'onFoundNothing'> {
    if (!finder?.looks) return {};
    return {
      find: org => this.#find(org, finder),
      onFoundNothing: ({ org, address }) => finder.failed(org as OrgName, address),
    };
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

  /** What is known without looking. Throws as Directory.activeMember. */
  #targets(org: OrgName): DialTarget[] {
    const member = this.#options.directory.activeMember(org);
    const { finder } = this.#options;
    return targetsOf({ org, profile: member.profile }, finder ? finder.atHand(org) : registeredAddresses(member));
  }

  async #find(org: OrgName, finder: Finder): Promise<DialTarget[]> {
    const found = await finder.find(org);
    const { profile } = this.#options.directory.activeMember(org);
    return targetsOf({ org, profile }, found);
  }
}
