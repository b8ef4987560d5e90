import { FedgateError } from '../errors.js';
import type { Download, DownloadRequest } from '../files/types.js';
import type { Identity } from '../identity/verify.js';
import { isAlarming } from './alarms.js';
import type { LaneWork } from './extra-lanes.js';
import { FilesAsker } from './files-asker.js';
import { FilesHolder } from './files-holder.js';
import { asError, FILES_TIMING, type FilesHost } from './files-terms.js';
import type { IncomingFrame, Lane } from './lane.js';

export interface FilesSessionOptions {
  readonly host: FilesHost;
  readonly peer: Identity;
  readonly lane: Lane;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

/** A files lane at work: either side asks, and either side holds. */
export class FilesSession implements LaneWork {
  readonly lane: Lane;
  readonly #options: FilesSessionOptions;
  readonly #holder: FilesHolder;
  readonly #asker: FilesAsker;
  readonly #timer: NodeJS.Timeout;

  constructor(options: FilesSessionOptions) {
    const { host, peer, lane, now = () => performance.now() } = options;
    const { org } = peer;
    const timing = { ...FILES_TIMING, ...host.timing };
    this.lane = lane;
    this.#options = options;
    this.#holder = new FilesHolder({ lane, org, holder: host.holder, timing, now });
    this.#asker = new FilesAsker({ lane, org, timing, now, alarm: error => this.#alarm(error) });
    this.#timer = setInterval(() => this.check(), Math.min(timing.stallMs, timing.idleMs) / 4);
    lane.out.onDrain(() => this.#holder.pump());
    if (lane.closed.aborted) this.#end();
    else lane.closed.addEventListener('abort', () => this.#end(), { once: true });
    lane.listen(frame => this.#take(frame));
  }

  /** Downloads that are open, and held for the peer. */
  get open(): { readonly asked: number; readonly held: number } {
    return { asked: this.#asker.open, held: this.#holder.open };
  }

  /** As FilesAsker.ask. */
  ask(node: string, request: DownloadRequest, signal: AbortSignal): Promise<Download> {
    if (this.lane.closed.aborted)
      return Promise.reject(new FedgateError('PEER_UNREACHABLE', 'the link ended', { cause: this.lane.reason }));
    return this.#asker.ask(node, request, signal);
  }

  /** Ends what does not move. */
  check(): void {
    this.#holder.check();
    this.#asker.check();
  }

  drain(): void {
    this.#holder.drain();
  }

  /** Downloads go on through another link: nothing is waited for. */
  async idle(): Promise<void> {}

  #end(): void {
    clearInterval(this.#timer);
    this.#holder.end(this.lane.reason);
    this.#asker.end(this.lane.reason);
  }

  #take(frame: IncomingFrame): void {
    try {
      this.#dispatch(frame);
    } catch (error) {
      this.#alarm(asError(error));
      throw error;
    }
  }

  #dispatch(frame: IncomingFrame): void {
    if (frame.$case === 'chunk') this.#asker.receive(frame.value);
    else if (frame.$case === 'fileCredit') this.#holder.credit(frame.value);
    else if (frame.$case === 'fileWant') this.#holder.want(frame.value);
    else if (frame.$case === 'fileOpen') this.#holder.take(frame.value);
    else if (frame.$case === 'fileOpened') this.#asker.opened(frame.value);
    else if (frame.$case === 'fileEnd') this.#asker.ended(frame.value);
    else if (frame.$case === 'fileClose') this.#holder.close(frame.value);
    else throw new FedgateError('FRAME_UNEXPECTED', `a ${frame.$case} on the files lane`);
  }

  #alarm(error: FedgateError): void {
    const { host, peer } = this.#options;
    if (isAlarming(error)) host.onAlarm(error, { org: peer.org, gateway: peer.name });
  }
}
