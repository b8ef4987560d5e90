import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import { newStreamEpoch } from './batch.js';
import { ANSWERS_WINDOW_BYTES, BULK_BACK } from './dial.js';
import type { ExtraLanes } from './extra-lanes.js';
import { checkHello, LANE, type LaneKind, mailLanes, makeHello, type Self } from './hello.js';
import type { Lane } from './lane.js';
import type { LinkParts, OpenLane } from './link.js';

export interface AcceptHost {
  readonly self: Self;
  /** Throws LINK_SUPERSEDED when a better link to this gateway exists. */
  mayLink(peer: Identity, peerInstance: string): void;
  /** Takes a link whose control and mail lanes are open. */
  linked(parts: LinkParts): void;
  /** The lanes that links have beyond these. */
  readonly extra: ExtraLanes;
}

interface HalfLink {
  readonly peer: Identity;
  readonly control: OpenLane;
  /** The mail lanes that it waits for, each with what came. */
  readonly mail: Map<LaneKind, OpenLane | undefined>;
  readonly timer: NodeJS.Timeout;
}

const HELLO_TIMEOUT_MS = 5_000;
/** Links that wait for their mail lanes; more than this from one gateway is not an accident. */
const MAX_HALF_LINKS_PER_PEER = 4;

/** Answers the hellos of gateways that dial, and puts the lanes of a link together. */
export class Acceptor {
  readonly #host: AcceptHost;
  readonly #half = new Map<string, HalfLink>();

  constructor(host: AcceptHost) {
    this.#host = host;
  }

  /** Runs one lane until it is over. Throws what the peer is to be told. */
  async serve(lane: Lane, peer: Identity, address: string): Promise<void> {
    const hello = checkHello(await lane.first(HELLO_TIMEOUT_MS), this.#host.self, peer);
    if (BULK_BACK.has(hello.lane)) lane.narrow(ANSWERS_WINDOW_BYTES);
    if (this.#host.extra.has(hello.lane)) {
      await this.#host.extra.accept(lane, hello, peer);
      return over(lane);
    }
    const key = `${peer.org}/${peer.name}/${Buffer.from(hello.linkId).toString('hex')}`;
    const open: OpenLane = { lane, hello, ownEpoch: newStreamEpoch() };
    if (hello.lane === LANE.control) this.#openControl(key, peer, open);
    else if (hello.lane === LANE.mail || hello.lane === LANE.mailBack) this.#openMail(key, open);
    else if (hello.lane !== LANE.probe)
      throw new FedgateError('FRAME_UNEXPECTED', `lane ${hello.lane} is not opened here`);
    lane.put({ $case: 'hello', value: makeHello(this.#host.self, hello.lane, hello.linkId, open.ownEpoch) });
    if (hello.lane === LANE.probe) return;
    this.#completed(key, peer, address);
    await over(lane);
  }

  #openControl(key: string, peer: Identity, control: OpenLane): void {
    this.#host.mayLink(peer, Buffer.from(control.hello.instanceId).toString('hex'));
    if (this.#half.has(key)) throw new FedgateError('FRAME_UNEXPECTED', 'a second control lane of the same link');
    const waiting = [...this.#half.values()].filter(half => half.peer.fingerprint === peer.fingerprint).length;
    if (waiting >= MAX_HALF_LINKS_PER_PEER) {
      throw new FedgateError('LIMIT_REACHED', 'too many links wait for their mail lane', {
        metadata: { limit: 'half links' },
        retryAfterMs: HELLO_TIMEOUT_MS,
      });
    }
    const giveUp = (): void => {
      control.lane.close(new FedgateError('FRAME_UNEXPECTED', 'a mail lane did not follow the control lane'));
    };
    const timer = setTimeout(giveUp, HELLO_TIMEOUT_MS);
    const mail = new Map(mailLanes(this.#host.self, control.hello).map(kind => [kind, undefined]));
    this.#half.set(key, { peer, control, mail, timer });
    control.lane.closed.addEventListener('abort', () => this.#forget(key, control), { once: true });
  }

  #openMail(key: string, open: OpenLane): void {
    const half = this.#half.get(key);
    const { lane: kind } = open.hello;
    if (!half?.mail.has(kind) || half.mail.get(kind))
      throw new FedgateError('FRAME_UNEXPECTED', `a mail lane (${kind}) of a link that does not wait for it`);
    half.mail.set(kind, open);
  }

  /** Hands on a link all of whose mail lanes are open. */
  #completed(key: string, peer: Identity, address: string): void {
    const half = this.#half.get(key);
    if (!half || [...half.mail.values()].includes(undefined)) return;
    const { control } = half;
    const [mail, mailBack] = [half.mail.get(LANE.mail), half.mail.get(LANE.mailBack)];
    half.mail.clear();
    this.#forget(key, control);
    if (mail) this.#host.linked({ peer, dialled: false, address, control, mail, mailBack });
  }

  /** Only what this control lane waits for: its link id may be in use again. Mail lanes that came go with it. */
  #forget(key: string, control: OpenLane): void {
    const half = this.#half.get(key);
    if (half?.control !== control) return;
    clearTimeout(half.timer);
    this.#half.delete(key);
    for (const open of half.mail.values()) open?.lane.close(control.lane.reason);
  }
}

/** Waits until a lane is over. Returns when the other side or a drain ended it, throws when it was ended for a fault. */
function over(lane: Lane): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      const { reason } = lane;
      if (reason.reason === 'PEER_UNREACHABLE' || reason.reason === 'CANCELLED') resolve();
      else reject(reason);
    };
    if (lane.closed.aborted) settle();
    else lane.closed.addEventListener('abort', settle, { once: true });
  });
}
