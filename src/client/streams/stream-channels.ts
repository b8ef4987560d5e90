import type { Client } from '@grpc/grpc-js';

/** Bytes on the way towards us on one call: beyond, what was given credit for waits at the gateway. */
const INCOMING_WINDOW_BYTES = 4 * 1024 * 1024;
/** What comes back for bytes that go out is credit. */
const OUTGOING_WINDOW_BYTES = 64 * 1024;

/** Two connections: bytes go out on one and come in on the other. */
export interface ChannelPair {
  readonly outgoing: Client;
  readonly incoming: Client;
}

/** The connections that the bytes of all streams of a client go over, made when they are needed; none of them is that of messages. */
export class StreamChannels {
  readonly #open: (window: number) => Client;
  #pair: ChannelPair | undefined;
  #closed = false;

  constructor(open: (window: number) => Client) {
    this.#open = open;
  }

  get pair(): ChannelPair {
    this.#pair ??= { outgoing: this.#make(OUTGOING_WINDOW_BYTES), incoming: this.#make(INCOMING_WINDOW_BYTES) };
    return this.#pair;
  }

  /**
   * One of the two is broken: neither is used any more. Node may not notice for a while that the other one is broken too, while it waits to write
   * to it.
   */
  broken(pair: ChannelPair): void {
    if (this.#pair !== pair) return;
    this.#pair = undefined;
    close(pair);
  }

  close(): void {
    this.#closed = true;
    if (this.#pair) close(this.#pair);
  }

  /** One that is made too late is closed as the others are. */
  #make(window: number): Client {
    const made = this.#open(window);
    if (this.#closed) made.close();
    return made;
  }
}

function close({ outgoing, incoming }: ChannelPair): void {
  outgoing.close();
  incoming.close();
}
