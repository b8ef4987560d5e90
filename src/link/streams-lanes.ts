import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { LaneDoor, LaneOffer, LaneWork } from './extra-lanes.js';
import { asCancelled } from './files-terms.js';
import { LANE, type LaneKind, STREAMS } from './hello.js';
import type { Lane } from './lane.js';
import type { Link } from './link.js';
import { type StreamsHost, StreamsLink, streamsLaneWork } from './streams-link.js';

/** Of one link: the lanes that are open, and what works on them once both are. */
interface Current {
  readonly link: Link;
  readonly lanes: Map<LaneKind, Lane>;
  streams: StreamsLink | undefined;
}

interface Waiting {
  resolve(streams: StreamsLink): void;
  reject(error: FedgateError): void;
}

/** The streams lanes of all links, and those who wait for one. */
export class StreamsLanes {
  readonly doors: readonly LaneDoor[] = [this.#door(LANE.streams), this.#door(LANE.streamsBack)];
  readonly #host: StreamsHost;
  readonly #current = new Map<OrgName, Current>();
  readonly #waiting = new Map<OrgName, Set<Waiting>>();

  constructor(host: StreamsHost) {
    this.#host = host;
  }

  /** A link is up; its streams lanes follow if the peer has any. */
  linked(link: Link): void {
    const { org } = link.peer;
    this.#current.set(org, { link, lanes: new Map(), streams: undefined });
    void link.closed.then(() => {
      if (this.#current.get(org)?.link === link) this.#current.delete(org);
    });
    if (!link.peerCan(STREAMS)) for (const waiting of this.#waiting.get(org) ?? []) waiting.reject(unsupported(org));
  }

  /** Whether somebody waits for a link to the organisation. */
  isAwaited(org: OrgName): boolean {
    return this.#waiting.has(org) || this.#host.streams.isAwaited(org);
  }

  /** The streams of the link to an organisation, once there are. Rejects with FEATURE_UNSUPPORTED, or as `signal` says. */
  streams(org: OrgName, signal: AbortSignal): Promise<StreamsLink> {
    const current = this.#current.get(org);
    if (current?.link.usable) {
      if (current.streams) return Promise.resolve(current.streams);
      if (!current.link.peerCan(STREAMS)) return Promise.reject(unsupported(org));
    }
    return this.#wait(org, signal);
  }

  #door(kind: LaneKind): LaneDoor {
    const start: LaneOffer['start'] = (link, { lane }) => this.#start(kind, link, lane);
    return { kind, capabilities: [STREAMS], offer: async () => ({ hello: {}, start }) };
  }

  /** What comes on the first lane waits there for the second one. */
  #start(kind: LaneKind, link: Link, lane: Lane): LaneWork {
    const { peer, dialled, peerInstance: instance } = link;
    const current = this.#current.get(peer.org);
    if (current?.link !== link) throw new FedgateError('LINK_SUPERSEDED', 'the link is over');
    current.lanes.set(kind, lane);
    const [forth, back] = [current.lanes.get(LANE.streams), current.lanes.get(LANE.streamsBack)];
    if (forth && back) {
      const [own, theirs] = dialled ? [forth, back] : [back, forth];
      const streams = new StreamsLink({ host: this.#host, peer, instance, dialled, own, theirs });
      current.streams = streams;
      for (const waiting of this.#waiting.get(peer.org) ?? []) waiting.resolve(streams);
      this.#host.streams.linked(peer.org, streams);
    }
    return streamsLaneWork(lane);
  }

  async #wait(org: OrgName, signal: AbortSignal): Promise<StreamsLink> {
    const all = this.#waiting.get(org) ?? new Set();
    this.#waiting.set(org, all);
    let abort: () => void = () => undefined;
    let waiting: Waiting | undefined;
    try {
      return await new Promise<StreamsLink>((resolve, reject) => {
        waiting = { resolve, reject };
        abort = () => reject(asCancelled(signal.reason));
        all.add(waiting);
        if (signal.aborted) abort();
        signal.addEventListener('abort', abort, { once: true });
      });
    } finally {
      signal.removeEventListener('abort', abort);
      if (waiting) all.delete(waiting);
      if (all.size === 0) this.#waiting.delete(org);
    }
  }
}

const unsupported = (org: OrgName): FedgateError =>
  new FedgateError('FEATURE_UNSUPPORTED', `the gateway of ${org} knows no byte streams`, { metadata: { org } });
