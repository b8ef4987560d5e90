import { setMaxListeners } from 'node:events';
import type { Client } from '@grpc/grpc-js';
import type { FedgateError } from '../../errors.js';
import { type TransferHost, throwIfGivenUp } from './patience.js';

/** Bytes on the way towards us on one download: 80 MB/s at 100 ms. */
const DOWNLOAD_WINDOW_BYTES = 8 * 1024 * 1024;
/** What comes back from an upload is one answer. */
const UPLOAD_WINDOW_BYTES = 64 * 1024;

/**
 * The connections that content goes over, made when they are needed. None of them is that of messages, which would wait behind it. And none
 * carries content both ways: Node reads nothing from a connection while it waits to write to it, and two such ends stand still.
 */
export class TransferChannels implements TransferHost {
  readonly ended: AbortSignal;
  readonly reconnected: (error: FedgateError) => Promise<void>;
  readonly #channel: Client;
  readonly #open: (window: number) => Client;
  #uploads: Client | undefined;
  #downloads: Client | undefined;

  constructor(
    channel: Client,
    open: (window: number) => Client,
    reconnected: (error: FedgateError) => Promise<void>,
    ended: AbortSignal,
  ) {
    this.#channel = channel;
    this.#open = open;
    this.reconnected = reconnected;
    this.ended = ended;
    // Each call under way listens.
    setMaxListeners(0, ended);
  }

  /** None of them is given out once the client is closed: that throws CANCELLED. */
  get channel(): Client {
    throwIfGivenUp(this.ended);
    return this.#channel;
  }

  get uploads(): Client {
    throwIfGivenUp(this.ended);
    this.#uploads ??= this.#open(UPLOAD_WINDOW_BYTES);
    return this.#uploads;
  }

  get downloads(): Client {
    throwIfGivenUp(this.ended);
    this.#downloads ??= this.#open(DOWNLOAD_WINDOW_BYTES);
    return this.#downloads;
  }

  /** After `ended` has fired. */
  close(): void {
    this.#uploads?.close();
    this.#downloads?.close();
  }
}
