import { randomBytes } from 'node:crypto';
import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { ACCEPTOR, type Relay } from './relay.js';
import { lost } from './terms.js';
import type { Port } from './track.js';

/** A link that carries streams. */
export interface StreamLink {
  /** Names the other gateway's process. */
  readonly instance: string;
  /**
   * Opens a stream, or goes on with it. `opened` hears that it was accepted, `failed` that it was not or that the link broke (undefined: that all had
   * arrived, and it is over); then the port, which leads to it from the first on, is of no use any more.
   */
  open(
    outgoing: Outgoing,
    resume: boolean,
    opened: (node: string) => void,
    failed: (error: Error | undefined) => void,
  ): Port;
}

/** A stream that a node of the own organisation opens to another organisation. */
export class Outgoing {
  readonly org: OrgName;
  readonly relay: Relay;
  /** Names it across links, hexadecimal. */
  readonly key = randomBytes(16).toString('hex');
  /** How much time there is to accept it, milliseconds. */
  readonly timeoutMs: number;
  readonly #accepted: (node: string) => void;
  #instance: string | undefined;
  /** On its way: not known yet whether it is opened. */
  #pending: Port | undefined;
  #isOpen = false;

  constructor(org: OrgName, relay: Relay, timeoutMs: number, accepted: (node: string) => void) {
    this.org = org;
    this.relay = relay;
    this.timeoutMs = timeoutMs;
    this.#accepted = accepted;
  }

  /** Opens it over a link, or goes on with it. */
  go(link: StreamLink): void {
    const { relay } = this;
    const resume = this.#isOpen;
    if (resume && this.#instance !== link.instance) return relay.end(restarted(this.org));
    this.#instance = link.instance;
    const port = link.open(
      this,
      resume,
      node => {
        if (this.#pending !== port) return;
        this.#pending = undefined;
        this.#isOpen = true;
        // When all has arrived it is only that the other gateway did not hear so.
        if (relay.over) return port.close(undefined);
        relay.attach(ACCEPTOR, port);
        this.#accepted(node);
      },
      error => {
        if (this.#pending !== port) return;
        this.#pending = undefined;
        if (!error) relay.closedBy(ACCEPTOR);
        // While it goes on the next link may do.
        else if (!resume || !isLinkLost(error)) relay.end(resume ? lost(error.message) : error);
      },
    );
    this.#pending = port;
  }

  /** It is over. */
  close(error: Error | undefined): void {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.close(error);
  }
}

const isLinkLost = (error: Error): boolean => error instanceof FedgateError && error.reason === 'PEER_UNREACHABLE';

/** Streams do not outlive the process of a gateway. */
export const restarted = (org: string): Error => lost(`the gateway of ${org} was started anew`);
