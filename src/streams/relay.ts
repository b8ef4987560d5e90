import type { StreamFrame } from '../wire/stream-frames.js';
import { Direction } from './direction.js';
import { lost } from './terms.js';
import type { Port } from './track.js';

/** One of the two legs of a stream at a gateway: towards who opened it, or towards who accepted it. */
export type Side = 0 | 1;
export const OPENER: Side = 0;
export const ACCEPTOR: Side = 1;
const other = (side: Side): Side => (side === OPENER ? ACCEPTOR : OPENER);

/** Who stands at one side, and whom its queue is shared with. */
export interface Party {
  readonly org: string;
  /** Empty: not known yet. */
  readonly node: string;
}

export interface RelayFacts {
  /** Its number at this gateway. */
  readonly id: number;
  readonly channel: string;
  readonly opener: Party;
  readonly acceptorOrg: string;
  readonly resumeMs: number;
}

export interface RelayHost {
  /** How many bytes may wait for one side. */
  room(side: Side): number;
  /** It is over; undefined: as it should be. */
  ended(relay: Relay, error: Error | undefined): void;
}

interface Leg {
  port: Port | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** One stream at one gateway: two legs, and a direction each way between them. */
export class Relay {
  readonly facts: RelayFacts;
  readonly sinceMs = Date.now();
  /** The node that accepted. Empty: none yet. */
  acceptor = '';
  readonly #host: RelayHost;
  readonly #legs: readonly [Leg, Leg] = [
    { port: undefined, timer: undefined },
    { port: undefined, timer: undefined },
  ];
  /** By the side that the bytes come from. */
  readonly #directions: readonly [Direction, Direction];
  #over = false;

  constructor(facts: RelayFacts, host: RelayHost) {
    this.facts = facts;
    this.#host = host;
    const done = (): void => this.#checkDone();
    this.#directions = [new Direction(() => host.room(ACCEPTOR), done), new Direction(() => host.room(OPENER), done)];
  }

  get over(): boolean {
    return this.#over;
  }

  get attached(): boolean {
    return this.#legs[0].port !== undefined && this.#legs[1].port !== undefined;
  }

  get queuedBytes(): number {
    return this.#directions[0].queuedBytes + this.#directions[1].queuedBytes;
  }

  /** Bytes that went through from one side. */
  bytesFrom(side: Side): number {
    return this.#directions[side].bytes;
  }

  isAttached(side: Side): boolean {
    return this.#legs[side].port !== undefined;
  }

  /** A leg is there, or there again. When both are, both ends are asked where they stand, unless the other gateway does that. */
  attach(side: Side, port: Port, ask = true): void {
    if (this.#over) return port.close(lost('the stream is over'));
    const leg = this.#legs[side];
    clearTimeout(leg.timer);
    leg.timer = undefined;
    leg.port = port;
    this.#lose();
    this.#directions[other(side)].forward.move(port.forward);
    this.#directions[side].back.move(port.back);
    if (!this.attached) return;
    for (const direction of this.#directions) {
      if (ask) direction.ask();
      direction.back.ready();
    }
  }

  /** The port is no longer there: it may come back for a while. One that was replaced is ignored. */
  detach(side: Side, port: Port, why: string): void {
    const leg = this.#legs[side];
    if (this.#over || leg.port !== port) return;
    leg.port = undefined;
    this.#directions[other(side)].forward.move(undefined);
    this.#directions[side].back.move(undefined);
    this.#lose();
    if (this.#directions[side].told && this.#directions[other(side)].done) return this.#checkDone();
    this.await(side, why);
  }

  /** A leg that is not there has so much time to be. */
  await(side: Side, why: string): void {
    const leg = this.#legs[side];
    const { resumeMs } = this.facts;
    leg.timer ??= setTimeout(() => this.end(lost(`${why}, and was not back within ${resumeMs / 1000} s`)), resumeMs);
  }

  /** A frame of one leg; of a port that was replaced it is ignored. Throws FRAME_UNEXPECTED, CREDIT_EXCEEDED for one that breaks the rules. */
  take(side: Side, frame: StreamFrame, port: Port): void {
    if (this.#over || this.#legs[side].port !== port) return;
    const [from, to] = [this.#directions[side], this.#directions[other(side)]];
    if (frame.kind === 'data') from.data(frame);
    else if (frame.kind === 'credit') to.credit(frame);
    else if (frame.kind === 'end') from.end(frame);
    else if (frame.kind === 'from') from.from(frame);
    else from.ask();
  }

  /** The gateway at one side says that all has arrived both ways. What it says of what is to arrive on the other side is checked. */
  closedBy(side: Side, port?: Port): void {
    const arrived = this.#directions[side].done;
    this.end(arrived ? undefined : lost('the other gateway ended the stream before all had arrived'), port);
  }

  /** Ends it for both sides. `exceptFor`: a side that knows already. */
  end(error: Error | undefined, exceptFor?: Port): void {
    if (this.#over) return;
    this.#over = true;
    for (const { timer } of this.#legs) clearTimeout(timer);
    for (const direction of this.#directions) {
      direction.forward.move(undefined);
      direction.back.move(undefined);
      direction.lose();
    }
    for (const leg of this.#legs) {
      const { port } = leg;
      leg.port = undefined;
      if (port !== exceptFor) port?.close(error);
    }
    this.#host.ended(this, error);
  }

  #lose(): void {
    for (const direction of this.#directions) if (!direction.done) direction.lose();
  }

  /** Whoever has heard all and said all needs it no more. */
  #checkDone(): void {
    const [there, back] = this.#directions;
    if (there.told && back.told) this.end(undefined);
  }
}
