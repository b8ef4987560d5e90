import type { Client } from '@grpc/grpc-js';
import type { FedgateError } from '../../errors.js';
import type { TransferHost } from './patience.js';

/** Bytes on the way towards us on one download: 80 MB/s at 100 ms. */
const DOWNLOAD_WINDOW_BYTES = 8 * 1024 * 1024;
/** What comes back from an upload is one answer. */
const UPLOAD_WINDOW_BYTES = 64 * 1024;

/**
 * The connections that content goes over, made when they are needed. None of them is that of messages, which would wait behind it. And none
 * carries content both ways: Node reads nothing from a connection while it waits to write to it, and two such ends stand still.
 */
export class TransferChannels implements TransferHost {
  readonly channel: Client;
  readonly reconnected: (error: FedgateError) => Promise<void>;
  readonly #open: (window: number) => Client;
  #uploads: Client | undefined;
  #downloads: Client | undefined;
  #closed = false;

  constructor(channel: Client, open: (window: number) => Client, reconnected: (error: FedgateError) => Promise<void>) {
    this.channel = channel;
    this.#open = open;
    this.reconnected = reconnected;
  }

  get uploads(): Client {
    this.#uploads ??= this.#make(UPLOAD_WINDOW_BYTES);
    return this.#uploads;
  }

  get downloads(): Client {
    this.#downloads ??= this.#make(DOWNLOAD_WINDOW_BYTES);
    return this.#downloads;
  }

  close(): void {
    this.#closed = true;
    this.#uploads?.close();
    this.#downloads?.close();
  }

  /** One that is made too late is closed as the others are. */
  #make(window: number): Client {
    const made = this.#open(window);
    if (this.#closed) made.close();
    return made;
  }
}
