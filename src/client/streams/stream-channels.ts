import type { Client } from '@grpc/grpc-js';
import type { StreamChannels } from './attachment.js';

/** Bytes on the way towards us on one call: beyond, what was given credit for waits at the gateway. */
const INCOMING_WINDOW_BYTES = 4 * 1024 * 1024;
/** What comes back for bytes that go out is credit. */
const OUTGOING_WINDOW_BYTES = 64 * 1024;

/** The two connections that the bytes of all streams of a client go over, made when they are needed; none of them is that of messages. */
export class ClientStreamChannels implements StreamChannels {
  readonly #open: (window: number) => Client;
  #outgoing: Client | undefined;
  #incoming: Client | undefined;
  #closed = false;

  constructor(open: (window: number) => Client) {
    this.#open = open;
  }

  get outgoing(): Client {
    this.#outgoing ??= this.#make(OUTGOING_WINDOW_BYTES);
    return this.#outgoing;
  }

  get incoming(): Client {
    this.#incoming ??= this.#make(INCOMING_WINDOW_BYTES);
    return this.#incoming;
  }

  close(): void {
    this.#closed = true;
    this.#outgoing?.close();
    this.#incoming?.close();
  }

  #make(window: number): Client {
    const made = this.#open(window);
    if (this.#closed) made.close();
    return made;
  }
}
