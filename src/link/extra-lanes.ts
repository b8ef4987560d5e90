import type { Hello } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import { type LaneHello, type LaneKind, makeHello, type Self } from './hello.js';
import type { Lane } from './lane.js';
import type { Link, OpenLane } from './link.js';

/** How long a link may stay whose other side takes no more lanes for it, and says nothing else about it, milliseconds. */
const LAST_WORD_MS = 2_000;

/** An additional lane at work. */
export interface LaneWork {
  readonly lane: Lane;
  /** Takes nothing new. */
  drain(): void;
  /** Resolves when what must be answered before the lane may end was answered. */
  idle(): Promise<void>;
}

/** A hello that was made for one lane, and what is to be done once the peer's has come. */
export interface LaneOffer {
  readonly hello: LaneHello;
  /** Sets the lane to work. Throws LINK_SUPERSEDED when the offer no longer stands. */
  start(link: Link, open: OpenLane): LaneWork;
}

/** A kind of lane that a link has beyond control and mail when both sides have its capabilities. */
export interface LaneDoor {
  readonly kind: LaneKind;
  /** The first one names what the lane is for. */
  readonly capabilities: readonly [string, ...string[]];
  offer(peer: Identity): Promise<LaneOffer>;
}

export interface ExtraLanesHost {
  readonly self: Self;
  /** The link that is there to the organisation. */
  linkTo(org: Identity['org']): Link | undefined;
}

/** Opens the additional lanes of all links: the side that dialled the link dials them, each at most once. */
export class ExtraLanes {
  readonly #doors: ReadonlyMap<LaneKind, LaneDoor>;
  readonly #host: ExtraLanesHost;

  constructor(doors: readonly LaneDoor[], host: ExtraLanesHost) {
    this.#doors = new Map(doors.map(door => [door.kind, door]));
    this.#host = host;
  }

  has(kind: LaneKind): boolean {
    return this.#doors.has(kind);
  }

  /** Answers the hello of a lane and sets it to work. Throws LINK_SUPERSEDED when the link is not, or no longer, the one to this gateway. */
  async accept(lane: Lane, hello: Hello, peer: Identity): Promise<void> {
    const door = this.#door(hello.lane);
    const linkId = Buffer.from(hello.linkId).toString('hex');
    this.#linkOf(door, peer, linkId);
    const offer = await door.offer(peer);
    if (lane.closed.aborted) throw lane.reason;
    lane.put({ $case: 'hello', value: makeHello(this.#host.self, door.kind, hello.linkId, offer.hello) });
    const link = this.#linkOf(door, peer, linkId);
    const ownEpoch = offer.hello.streamEpoch ?? 0n;
    link.attach(door.kind, offer.start(link, { lane, hello, ownEpoch }));
  }

  /** Opens what the peer of a link that we dialled can do. A link of which one lane does not open is of no use, and is closed. */
  open(link: Link): void {
    for (const door of this.#doors.values())
      if (link.openLane && link.peerCan(...door.capabilities)) void dial(link, door);
  }

  #door(kind: LaneKind): LaneDoor {
    const door = this.#doors.get(kind);
    if (!door) throw new FedgateError('FRAME_UNEXPECTED', `lane ${kind} is not opened here`);
    return door;
  }

  #linkOf({ kind, capabilities }: LaneDoor, { org }: Identity, linkId: string): Link {
    const link = this.#host.linkTo(org);
    if (link?.id === linkId && link.usable && !link.dialled && !link.has(kind)) return link;
    throw new FedgateError('LINK_SUPERSEDED', `a ${capabilities[0]} lane of a link that is not there`);
  }
}

async function dial(link: Link, door: LaneDoor): Promise<void> {
  const ended = new AbortController();
  void link.closed.then(reason => ended.abort(reason));
  try {
    const offer = await door.offer(link.peer);
    if (!link.usable) return;
    const open = await link.openLane?.(door.kind, offer.hello, ended.signal).catch(error => lastWord(link, error));
    if (open) start(link, door, offer, open);
  } catch (error) {
    // One that is being drained takes no lane any more, and has answers to wait for.
    if (!link.draining) link.close(asError(error));
  }
}

/**
 * Throws why a lane did not open. One of a link that is not there, as the other side says, was refused because that one drains the link or
 * closes it: word of that comes on another connection, and may come later.
 */
async function lastWord(link: Link, error: unknown): Promise<never> {
  if (asError(error).reason === 'LINK_SUPERSEDED') {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>(resolve => {
      timer = setTimeout(resolve, LAST_WORD_MS);
    });
    await Promise.race([link.closed, late]);
    clearTimeout(timer);
  }
  throw error;
}

function start(link: Link, door: LaneDoor, offer: LaneOffer, open: OpenLane): void {
  try {
    if (link.usable) link.attach(door.kind, offer.start(link, open));
    else open.lane.close(new FedgateError('LINK_SUPERSEDED', 'the link is over'));
  } catch (error) {
    open.lane.close(asError(error));
    throw error;
  }
}

const asError = (error: unknown): FedgateError =>
  error instanceof FedgateError ? error : new FedgateError('INTERNAL', 'internal error', { cause: error });
