import { FedgateError } from '../errors.js';
import type { Pattern } from '../messaging/address.js';
import { matches } from '../messaging/pattern.js';
import type { Offer } from './offer.js';
import { full } from './terms.js';

export interface AcceptorSink {
  offered(offer: Offer): void;
  withdrawn(offer: Offer): void;
}

/** One AcceptStreams call. */
export class Acceptor {
  readonly node: string;
  readonly capacity: number;
  readonly patterns = new Map<string, Pattern>();
  /** Streams that are offered to it, or that it took and are open. */
  readonly has = new Set<Offer>();
  readonly sink: AcceptorSink;

  constructor(node: string, capacity: number, sink: AcceptorSink) {
    this.node = node;
    this.capacity = capacity;
    this.sink = sink;
  }
}

/** All who accept streams on this gateway. */
export class Acceptors {
  readonly all = new Set<Acceptor>();
  readonly #org: string;

  constructor(org: string) {
    this.#org = org;
  }

  /** It takes nothing more. Offers that it has not answered go to others. */
  remove(acceptor: Acceptor): void {
    this.all.delete(acceptor);
    for (const offer of [...acceptor.has]) offer.gone(acceptor);
  }

  /**
   * The one with the most room whose pattern matches and who was not asked before. Throws NO_ACCEPTORS, LIMIT_REACHED when all are busy.
   */
  pick(channel: string, asked: ReadonlySet<Acceptor>): Acceptor {
    let best: Acceptor | undefined;
    let busy = false;
    for (const acceptor of this.all) {
      if (asked.has(acceptor) || ![...acceptor.patterns.values()].some(pattern => matches(pattern, channel))) continue;
      if (acceptor.has.size >= acceptor.capacity) busy = true;
      else if (!best || acceptor.has.size / acceptor.capacity < best.has.size / best.capacity) best = acceptor;
    }
    if (best) return best;
    if (busy) throw full('stream capacity', `all who accept streams on ${channel} at ${this.#org} have enough of them`);
    const none = asked.size > 0 ? 'nobody took the stream that was offered' : 'nobody accepts streams';
    throw new FedgateError('NO_ACCEPTORS', `${none} on ${channel} at ${this.#org}`, {
      metadata: { org: this.#org, channel },
      retryAfterMs: 500,
    });
  }
}
