import { FedgateError } from '../errors.js';
import type { Acceptor, Acceptors } from './acceptors.js';
import { MAX_OFFERS, OFFER_MS } from './terms.js';

export interface OfferFacts {
  /** 16 bytes, hexadecimal: whoever has it may take the stream. */
  readonly token: string;
  readonly channel: string;
  readonly senderOrg: string;
  readonly senderNode: string;
  /** How long it may take in all, milliseconds. */
  readonly timeoutMs: number;
}

/** A stream that somebody is to accept: offered to one node after the other. */
export class Offer {
  readonly facts: OfferFacts;
  readonly #acceptors: Acceptors;
  readonly #fail: (error: FedgateError) => void;
  readonly #asked = new Set<Acceptor>();
  readonly #offerMs: number;
  #current: Acceptor | undefined;
  #taken = false;
  #over = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #deadline: NodeJS.Timeout;

  /** `fail` hears when nobody takes it. */
  constructor(facts: OfferFacts, acceptors: Acceptors, fail: (error: FedgateError) => void, offerMs = OFFER_MS) {
    this.facts = facts;
    this.#acceptors = acceptors;
    this.#fail = fail;
    this.#offerMs = offerMs;
    this.#deadline = setTimeout(
      () => this.#failed(new FedgateError('NO_ACCEPTORS', 'nobody took the stream in time', { retryAfterMs: 500 })),
      facts.timeoutMs,
    );
  }

  /** To whom it is offered, or who took it. */
  get node(): string {
    return this.#current?.node ?? '';
  }

  /** Throws NO_ACCEPTORS, LIMIT_REACHED: nobody is asked. */
  start(): void {
    try {
      this.#next();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The node takes it. Throws STREAM_UNKNOWN for another one than it was offered to. */
  take(node: string): void {
    if (this.#over || this.#taken || this.#current?.node !== node)
      throw new FedgateError('STREAM_UNKNOWN', 'no stream is offered with that token');
    this.#taken = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#deadline);
  }

  /** The node does not want it, and neither do we look for another. */
  refuse(acceptor: Acceptor, reason: string): void {
    if (this.#taken || this.#current !== acceptor) return;
    const { node } = acceptor;
    this.#failed(new FedgateError('STREAM_REFUSED', reason || `node ${node} does not want it`, { metadata: { node } }));
  }

  /** The acceptor is gone. */
  gone(acceptor: Acceptor): void {
    if (this.#current === acceptor && !this.#taken) this.#another();
  }

  /** It is over: taken and ended, or not wanted any more. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#deadline);
    const current = this.#current;
    current?.has.delete(this);
    if (!this.#taken) current?.sink.withdrawn(this);
  }

  #next(): void {
    const acceptor = this.#acceptors.pick(this.facts.channel, this.#asked);
    this.#current = acceptor;
    this.#asked.add(acceptor);
    acceptor.has.add(this);
    this.#timer = setTimeout(() => {
      acceptor.sink.withdrawn(this);
      this.#another();
    }, this.#offerMs);
    acceptor.sink.offered(this);
  }

  #another(): void {
    clearTimeout(this.#timer);
    this.#current?.has.delete(this);
    this.#current = undefined;
    try {
      if (this.#asked.size >= MAX_OFFERS)
        throw new FedgateError('NO_ACCEPTORS', `${this.#asked.size} nodes were offered the stream, and none took it`);
      this.#next();
    } catch (error) {
      this.#failed(error as FedgateError);
    }
  }

  #failed(error: FedgateError): void {
    if (this.#over) return;
    this.close();
    this.#fail(error);
  }
}
