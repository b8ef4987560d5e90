import type { KeyObject } from 'node:crypto';
import type { StreamId, StreamPosition } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Identity } from '../identity/verify.js';
import { type DurableHost, DurableSession, durableHello } from './durable-session.js';
import type { LaneDoor, LaneOffer } from './extra-lanes.js';
import { DURABLE, LANE, type Self } from './hello.js';
import type { Link, OpenLane } from './link.js';
import { cannotAsk } from './refetches.js';

interface Slot {
  session: DurableSession | undefined;
  offers: number;
}

/**
 * The durable lanes of all links: at most one is at work per organisation. Links come and go, and for a moment there may be two; the
 * numbers of a stream must not.
 */
export class DurableLanes implements LaneDoor {
  readonly kind = LANE.durable;
  readonly capability = DURABLE;
  readonly #host: DurableHost;
  readonly #self: Self;
  readonly #signingKey: KeyObject;
  readonly #slots = new Map<OrgName, Slot>();

  constructor(host: DurableHost, self: Self, signingKey: KeyObject) {
    this.#host = host;
    this.#self = self;
    this.#signingKey = signingKey;
  }

  /** Ends the work of the lane that is there, and says where things stand. The offer stands as long as none is made after it. */
  async offer({ org, name }: Identity): Promise<LaneOffer> {
    const slot = this.#slot(org);
    const number = ++slot.offers;
    await slot.session?.halt();
    return {
      hello: durableHello(this.#host, { org, gateway: name }),
      start: (link, open) => this.#start(slot, number, link, open),
    };
  }

  #start(slot: Slot, number: number, link: Link, { lane, hello }: OpenLane): DurableSession {
    if (slot.offers !== number || !link.usable)
      throw new FedgateError('LINK_SUPERSEDED', 'another durable lane was opened at the same moment');
    const { peer, live } = link;
    slot.session = new DurableSession({
      host: this.#host,
      self: this.#self,
      signingKey: this.#signingKey,
      peer,
      lane,
      hello,
      live,
    });
    return slot.session;
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
