import { FedgateError } from '../errors.js';
import type { Download, DownloadRequest } from '../files/types.js';
import type { Identity } from '../identity/verify.js';
import { isAlarming } from './alarms.js';
import type { LaneWork } from './extra-lanes.js';
import { FilesAsker } from './files-asker.js';
import { FilesHolder } from './files-holder.js';
import { asError, FILES_TIMING, type FilesHost } from './files-terms.js';
import type { IncomingFrame, Lane } from './lane.js';

/** What this side does on a files lane. */
export type FilesRole = 'asker' | 'holder';

export interface FilesSessionOptions {
  readonly host: FilesHost;
  readonly peer: Identity;
  readonly lane: Lane;
  readonly role: FilesRole;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

/**
 * A files lane at work. One side of it asks and the other holds: Node reads nothing from an HTTP/2 connection while a write to it waits, so
 * two sides that both send more than the sockets keep would wait for each other for ever.
 */
export class FilesSession implements LaneWork {
  readonly lane: Lane;
  readonly #options: FilesSessionOptions;
  readonly #half: FilesAsker | FilesHolder;
  readonly #timer: NodeJS.Timeout;

  constructor(options: FilesSessionOptions) {
    const { host, peer, lane, role, now = () => performance.now() } = options;
    const timing = { ...FILES_TIMING, ...host.timing };
    const common = { lane, org: peer.org, timing, now };
    this.lane = lane;
    this.#options = options;
    this.#half =
      role === 'asker'
        ? new FilesAsker({ ...common, alarm: error => this.#alarm(error) })
        : new FilesHolder({ ...common, holder: host.holder });
    this.#timer = setInterval(() => this.check(), Math.min(timing.stallMs, timing.idleMs) / 4);
    lane.out.onDrain(() => this.#half.pump());
    if (lane.closed.aborted) this.#end();
    else lane.closed.addEventListener('abort', () => this.#end(), { once: true });
    lane.listen(frame => this.#take(frame));
  }

  /** Downloads that are open. */
  get open(): number {
    return this.#half.open;
  }

  /** As FilesAsker.ask. */
  async ask(node: string, request: DownloadRequest, signal: AbortSignal): Promise<Download> {
    const { lane } = this;
    if (lane.closed.aborted) throw new FedgateError('PEER_UNREACHABLE', 'the link ended', { cause: lane.reason });
    if (this.#half instanceof FilesAsker) return this.#half.ask(node, request, signal);
    throw new FedgateError('INTERNAL', 'nothing is asked for on a lane of the other side');
  }

  /** Ends what does not move. */
  check(): void {
    this.#half.check();
  }

  drain(): void {
    this.#half.drain();
  }

  /** Downloads go on through another link: nothing is waited for. */
  async idle(): Promise<void> {}

  #end(): void {
    clearInterval(this.#timer);
    this.#half.end(this.lane.reason);
  }

  #take(frame: IncomingFrame): void {
    try {
      this.#half.take(frame);
    } catch (error) {
      this.#alarm(asError(error));
      throw error;
    }
  }

  #alarm(error: FedgateError): void {
    const { host, peer } = this.#options;
    if (isAlarming(error)) host.onAlarm(error, { org: peer.org, gateway: peer.name });
  }
}
