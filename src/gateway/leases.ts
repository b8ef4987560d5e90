import { FedgateError } from '../errors.js';
import type { NodeCaller } from './node-authentication.js';

/** The longest wait that a timer of Node's can have, milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A stream, and what its caller was let in by. */
export interface Lease {
  readonly caller: NodeCaller;
  readonly end: (error: FedgateError) => void;
}

/** Streams of nodes, which end when what their callers were identified by does. */
export class Leases {
  readonly #open = new Set<Lease>();

  /** Returns what to call when the stream is over. */
  begin(caller: NodeCaller, end: (error: FedgateError) => void): () => void {
    const lease = { caller, end };
    this.#open.add(lease);
    let timer: NodeJS.Timeout | undefined;
    const wait = (): void => {
      const leftMs = caller.endsMs - Date.now();
      if (leftMs <= 0) return end(over(caller));
      timer = setTimeout(wait, Math.min(leftMs, MAX_TIMER_MS));
      timer.unref();
    };
    if (Number.isFinite(caller.endsMs)) wait();
    return () => {
      clearTimeout(timer);
      this.#open.delete(lease);
    };
  }

  /** Ends all streams that somebody has a complaint about. */
  check(complaint: (lease: Lease) => FedgateError | undefined): void {
    for (const lease of [...this.#open]) {
      const error = complaint(lease);
      if (error) lease.end(error);
    }
  }
}

const over = ({ token, endsMs }: NodeCaller): FedgateError =>
  token && token.endsMs <= endsMs
    ? new FedgateError('TOKEN_EXPIRED', 'the token is past its end; come back with another one')
    : new FedgateError('CERTIFICATE_EXPIRED', `the certificate ended ${new Date(endsMs).toISOString()}`);
