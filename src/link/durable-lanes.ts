import type { KeyObject } from 'node:crypto';
import type { StreamId, StreamPosition } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Identity } from '../identity/verify.js';
import { type DurableHost, DurableSession, durableHello } from './durable-session.js';
import type { LaneDoor, LaneOffer, LaneWork } from './extra-lanes.js';
import { DURABLE, LANE, type LaneKind, type Self, SPLIT } from './hello.js';
import type { Lane } from './lane.js';
import type { Link, OpenLane } from './link.js';
import { cannotAsk } from './refetches.js';

interface Slot {
  session: DurableSession | undefined;
  offers: number;
}

/** The lanes of one link as far as they are open, and what they are for once both are. */
interface Pair {
  readonly lanes: Map<LaneKind, Lane>;
  /** Sets them to work. Throws LINK_SUPERSEDED when what the hello of the first said no longer stands. */
  begin?: (front: Lane, back: Lane) => DurableSession;
  session?: DurableSession;
}

/**
 * The durable lanes of all links: at most one is at work per organisation. Links come and go, and for a moment there may be two; the
 * numbers of a stream must not.
 *
 * A link has one for each direction, when both sides can. The hellos of the first say where both streams stand; work begins when both
 * lanes are open, in whichever order that happens.
 */
export class DurableLanes {
  readonly doors: readonly LaneDoor[];
  readonly #pairs = new WeakMap<Link, Pair>();
  readonly #host: DurableHost;
  readonly #self: Self;
  readonly #signingKey: KeyObject;
  readonly #slots = new Map<OrgName, Slot>();

  constructor(host: DurableHost, self: Self, signingKey: KeyObject) {
    this.#host = host;
    this.#self = self;
    this.#signingKey = signingKey;
    const front: LaneDoor = { kind: LANE.durable, capabilities: [DURABLE], offer: peer => this.#offer(peer) };
    const back: LaneDoor = {
      kind: LANE.durableBack,
      capabilities: [DURABLE, SPLIT],
      offer: async () => this.#offerBack(),
    };
    this.doors = self.split === false ? [front] : [front, back];
  }

  /** Ends the work of the lane that is there, and says where things stand. The offer stands as long as none is made after it. */
  async #offer({ org, name }: Identity): Promise<LaneOffer> {
    const slot = this.#slot(org);
    const number = ++slot.offers;
    await slot.session?.halt();
    return {
      hello: durableHello(this.#host, { org, gateway: name }),
      start: (link, open) => this.#start(slot, number, link, open),
    };
  }

  #offerBack(): LaneOffer {
    const start: LaneOffer['start'] = (link, { lane }) => {
      if (!this.#split(link)) throw new FedgateError('FRAME_UNEXPECTED', 'a second durable lane of a link with one');
      return this.#join(link, LANE.durableBack, lane);
    };
    return { hello: {}, start };
  }

  #start(slot: Slot, number: number, link: Link, { lane, hello }: OpenLane): LaneWork {
    const { peer, live, dialled } = link;
    const begin = (front: Lane, back: Lane): DurableSession => {
      if (slot.offers !== number || !link.usable)
        throw new FedgateError('LINK_SUPERSEDED', 'another durable lane was opened at the same moment');
      const [outgoing, incoming] = dialled ? [front, back] : [back, front];
      const [host, self, signingKey] = [this.#host, this.#self, this.#signingKey];
      slot.session = new DurableSession({ host, self, signingKey, peer, outgoing, incoming, hello, live });
      return slot.session;
    };
    if (!this.#split(link)) return workOf(lane, { session: begin(lane, lane) });
    this.#pair(link).begin = begin;
    return this.#join(link, LANE.durable, lane);
  }

  /** One of the two lanes of a link is open. */
  #join(link: Link, kind: LaneKind, lane: Lane): LaneWork {
    const pair = this.#pair(link);
    pair.lanes.set(kind, lane);
    const [front, back] = [pair.lanes.get(LANE.durable), pair.lanes.get(LANE.durableBack)];
    if (pair.begin && front && back) pair.session = pair.begin(front, back);
    return workOf(lane, pair);
  }

  #split(link: Link): boolean {
    return this.#self.split !== false && link.peerCan(SPLIT);
  }

  #pair(link: Link): Pair {
    let pair = this.#pairs.get(link);
    if (!pair) {
      pair = { lanes: new Map() };
      this.#pairs.set(link, pair);
    }
    return pair;
  }

  /** As Refetches.ask. */
  async refetch({ org }: StreamId, position: StreamPosition): Promise<Buffer | undefined> {
    const session = this.#slots.get(org)?.session;
    if (!session) throw cannotAsk();
    return session.refetch(position);
  }

  #slot(org: OrgName): Slot {
    let slot = this.#slots.get(org);
    if (!slot) {
      slot = { session: undefined, offers: 0 };
      this.#slots.set(org, slot);
    }
    return slot;
  }
}

/** What a link knows of one of the lanes: drained and idle are both at once. */
const workOf = (lane: Lane, pair: Pick<Pair, 'session'>): LaneWork => ({
  lane,
  drain: () => pair.session?.drain(),
  idle: async () => pair.session?.idle(),
});
