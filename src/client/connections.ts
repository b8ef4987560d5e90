import type { Client } from '@grpc/grpc-js';

/** Which way bulk goes. */
type Direction = 'out' | 'in';

/**
 * The connections of a client to its gateway: bulk goes out on one and comes in on the other. Node reads nothing from a connection while a
 * write of its own waits, so two sides that both send in bulk on one connection stand still once more is on its way than their sockets
 * keep. What goes the other way (results of publishes; acknowledgements and credit of consumers) is small against what it answers, and
 * bounded with it.
 *
 * The first connection serves the direction that is needed first; the second is made when the other direction is needed.
 */
export class Connections {
  readonly #open: () => Client;
  readonly #first: Client;
  #second: Client | undefined;
  #asking: Client | undefined;
  #answering: Client | undefined;
  #firstIs: Direction | undefined;
  #closed = false;

  constructor(open: () => Client) {
    this.#open = open;
    this.#first = open();
  }

  /** For calls that are small both ways. */
  get any(): Client {
    return this.#first;
  }

  /** For calls that send much and receive little. */
  get outgoing(): Client {
    return this.#for('out');
  }

  /** For calls that receive much and send little. */
  get incoming(): Client {
    return this.#for('in');
  }

  /** For requests, whose replies come back on it: what is on its way at once is bounded by whoever asks. */
  get asking(): Client {
    if (this.#closed) return this.#first;
    this.#asking ??= this.#open();
    return this.#asking;
  }

  /** For answering requests: what is out to us at once is bounded by the gateway. */
  get answering(): Client {
    if (this.#closed) return this.#first;
    this.#answering ??= this.#open();
    return this.#answering;
  }

  /** Those that were made. */
  get all(): readonly Client[] {
    return [this.#first, this.#second, this.#asking, this.#answering].filter(client => client !== undefined);
  }

  close(): void {
    this.#closed = true;
    for (const channel of this.all) channel.close();
  }

  #for(direction: Direction): Client {
    this.#firstIs ??= direction;
    if (this.#firstIs === direction || this.#closed) return this.#first;
    this.#second ??= this.#open();
    return this.#second;
  }
}
