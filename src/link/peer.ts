import { Backoff } from '../backoff.js';
import { FedgateError } from '../errors.js';
import { Fifo } from '../fifo.js';
import type { AddressHint } from '../finding/types.js';
import type { OrgName } from '../identity/names.js';
import type { Identity } from '../identity/verify.js';
import type { DeliveryOutcome } from '../messaging/router.js';
import { dialWaitMs, LINK_BACKOFF, URGENT_WAIT_MS } from './backoff.js';
import type { OutgoingBatch } from './batch.js';
import type { DialTarget } from './dial.js';
import type { Link } from './link.js';
import { Search } from './search.js';

/** Where a peer stands. See LinkStatus.State in gateway_service.proto. */
export type PeerState = 'idle' | 'connecting' | 'up' | 'backoff' | 'draining' | 'blocked';

export interface PeerHost {
  /** Every way to the organisation, in the order to be tried; empty when it has no address. Throws ORG_INACTIVE, ORG_UNKNOWN, SNAPSHOT_EXPIRED. */
  targets(org: OrgName): readonly DialTarget[];
  dial(target: DialTarget, signal: AbortSignal): Promise<Link>;
  /** More ways, which have to be looked for: asked when none of `targets` led to a link. Undefined: nobody looks. */
  find?: ((org: OrgName) => Promise<readonly DialTarget[]>) | undefined;
  /** Hears of a way that was found and led nowhere. */
  onFoundNothing?(target: DialTarget): void;
  /** Why a certificate that was good when the link was made is so no more. Undefined: it still is. */
  complaint(peer: Identity): FedgateError | undefined;
  /** Hears of every change of state. */
  onState(peer: Peer): void;
  /** Hears of each link that is taken, once it is. */
  onLink?(link: Link): void;
  /** Whether something durable waits for the organisation. */
  isUrgent?(org: OrgName): boolean;
  /** `ORG/gateway` of this side. */
  readonly selfId: string;
}

interface Waiting {
  use(link: Link): void;
  reject(error: unknown): void;
}

interface Awaiting {
  resolve(link: Link): void;
  reject(error: unknown): void;
}

/** How long a publish waits for a link that is being made for the first time, milliseconds: time for several addresses in turn. */
const CONNECT_WAIT_MS = 20_000;
/** A link that lived this long was a good one: the next attempts begin quickly again. */
const GOOD_LINK_MS = 5_000;
const MAX_WAITING_BYTES = 8 * 1024 * 1024;
/** What waits costs this much beside its content, about. */
const WAITING_ENTRY_BYTES = 256;

/**
 * One other organisation: the link to it, and the making of that link.
 *
 *     idle ──wanted──▶ connecting ──▶ up ──▶ draining ──▶ connecting …
 *                        │  ▲          │
 *                        ▼  │          ▼
 *                       backoff ◀── connection lost          blocked: not an active member, or nothing to dial
 *
 * An incoming link makes it `up` from any state but blocked and resets the back-off.
 */
export class Peer {
  readonly org: OrgName;
  readonly #host: PeerHost;
  readonly #search: Search;
  readonly #backoff = new Backoff(LINK_BACKOFF);
  readonly #waiting = new Fifo<Waiting>();
  /** Those who wait for the link itself. */
  readonly #awaiting = new Set<Awaiting>();
  #waitingBytes = 0;
  #state: PeerState = 'idle';
  #sinceMs = Date.now();
  #link: Link | undefined;
  #wanted = false;
  #dialling: AbortController | undefined;
  #retry: NodeJS.Timeout | undefined;
  #waitTimer: NodeJS.Timeout | undefined;
  #nextRetryMs = 0;
  /** What was known of the ways to it when they were last tried. */
  #knownTargets: string | undefined;
  #lastError: FedgateError | undefined;
  #reachedAt: AddressHint | undefined;
  #closed = false;
  readonly totals = { sent: 0, received: 0, lost: 0 };

  constructor(org: OrgName, host: PeerHost) {
    this.org = org;
    this.#host = host;
    this.#search = new Search(org, host);
  }

  get state(): PeerState {
    return this.#state;
  }

  get sinceMs(): number {
    return this.#sinceMs;
  }

  get link(): Link | undefined {
    return this.#link;
  }

  get lastError(): FedgateError | undefined {
    return this.#lastError;
  }

  /** When the next dial is due, epoch milliseconds; 0 when none is. */
  get nextRetryMs(): number {
    return this.#nextRetryMs;
  }

  /** Where it was last reached by a dial from here. */
  get reachedAt(): AddressHint | undefined {
    return this.#reachedAt;
  }

  get wanted(): boolean {
    return this.#wanted;
  }

  /** Makes sure that a link is being made. */
  want(): void {
    this.#wanted = true;
    if (this.#state === 'idle' || this.#state === 'blocked') this.#dial();
  }

  /** Something durable waits for it: as long as that is so it is dialled at least every two seconds. */
  waiting(): void {
    if (this.#link?.usable || this.#closed) return;
    this.want();
    if (this.#state === 'backoff' && this.#nextRetryMs - Date.now() > URGENT_WAIT_MS) this.#scheduleDial(0);
  }

  /**
   * Sends a batch. While the first link is being made it waits in line for a few seconds; when the peer is known to be away it is
   * refused at once with PEER_UNREACHABLE and the time of the next attempt.
   */
  send(batch: OutgoingBatch): Promise<DeliveryOutcome> {
    if (this.#link?.usable && this.#waiting.length === 0) return this.#link.send(batch);
    return new Promise((resolve, reject) => {
      const use = (link: Link): void => void link.send(batch).then(resolve, reject);
      this.withLink(batch.records.bytes.length, use, reject);
    });
  }

  /** The link. While the first is being made it is waited for as by `send`; when the peer is known to be away this rejects at once. */
  linked(signal: AbortSignal): Promise<Link> {
    if (this.#link?.usable) return Promise.resolve(this.#link);
    this.want();
    if (this.#state !== 'connecting' && this.#state !== 'up') return Promise.reject(this.#unreachable());
    return new Promise((resolve, reject) => {
      const giveUp = (): void => waiter.reject(signal.reason);
      const settled = (): void => {
        signal.removeEventListener('abort', giveUp);
        this.#awaiting.delete(waiter);
      };
      const waiter: Awaiting = {
        resolve: link => {
          settled();
          resolve(link);
        },
        reject: error => {
          settled();
          reject(error);
        },
      };
      this.#awaiting.add(waiter);
      this.#waitTimer ??= setTimeout(() => this.#refuseWaiting(), CONNECT_WAIT_MS);
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** Uses the link, now or once it is made; `bytes` are held until then. As `send` it refuses with PEER_UNREACHABLE. */
  withLink(bytes: number, use: (link: Link) => void, refuse: (error: unknown) => void): void {
    if (this.#link?.usable && this.#waiting.length === 0) return use(this.#link);
    this.want();
    if (this.#state !== 'connecting' && this.#state !== 'up') return refuse(this.#unreachable());
    if (this.#waitingBytes + bytes + WAITING_ENTRY_BYTES > MAX_WAITING_BYTES) return refuse(this.#unreachable());
    this.#waiting.push({ use, reject: refuse });
    this.#waitingBytes += bytes + WAITING_ENTRY_BYTES;
    this.#waitTimer ??= setTimeout(() => this.#refuseWaiting(), CONNECT_WAIT_MS);
  }

  /** Takes a link whichever side dialled it. Between two gateways one link stays: a new process's, else the preferred one, else the newer. */
  adopt(link: Link): void {
    const complaint = this.#host.complaint(link.peer);
    if (complaint) return this.#reject(link, complaint);
    const old = this.#link;
    if (old?.usable && old.peer.fingerprint === link.peer.fingerprint && this.#keeps(old, link)) {
      link.close(new FedgateError('LINK_SUPERSEDED', 'the other link between these gateways stays'));
      return;
    }
    if (!link.dialled) this.#stopDialling();
    this.#use(link);
    if (old?.usable) void old.drain('superseded by a newer link', 5_000);
  }

  /** Whether an incoming link would only be closed again. Throws LINK_SUPERSEDED. */
  checkIncoming(instance: string): void {
    const current = this.#link;
    if (!current?.usable || current.peerInstance !== instance || !current.dialled) return;
    if (this.#prefersOwn(current))
      throw new FedgateError('LINK_SUPERSEDED', 'the other link between these gateways stays');
  }

  /**
   * Looks at the membership again: an organisation that may not take part is cut, and one about which something changed is dialled at
   * once. One about which nothing changed goes on waiting: this is called with every snapshot and every half minute.
   */
  membershipChanged(): void {
    let targets: readonly DialTarget[];
    try {
      targets = this.#host.targets(this.org);
    } catch (error) {
      this.#block(error as FedgateError);
      return;
    }
    const complaint = this.#link && this.#host.complaint(this.#link.peer);
    if (complaint) this.#link?.close(complaint);
    if (fingerprint(targets) === this.#knownTargets) return;
    if (this.#state === 'blocked') this.#enter('idle');
    if (this.#wanted && (this.#state === 'idle' || this.#state === 'backoff')) {
      this.#backoff.reset();
      this.#dial();
    }
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    this.#stopDialling();
    this.#refuseWaiting(new FedgateError('DRAINING', 'the gateway is about to stop'));
    await this.#link?.drain('the gateway is about to stop', graceMs);
  }

  /** Between the hello and now the peer was revoked or cut off. */
  #reject(link: Link, complaint: FedgateError): void {
    link.close(complaint);
    if (link.dialled && !this.#link?.usable) this.#failed(complaint);
  }

  #keeps(old: Link, fresh: Link): boolean {
    if (old.peerInstance !== fresh.peerInstance || old.dialled === fresh.dialled) return false;
    return old.dialled ? this.#prefersOwn(old) : !this.#prefersOwn(old);
  }

  /** Both sides must come to the same answer: the link dialled by the gateway whose name sorts first stays. */
  #prefersOwn({ peer }: Link): boolean {
    return this.#host.selfId < `${peer.org}/${peer.name}`;
  }

  #use(link: Link): void {
    this.#link = link;
    this.#search.stop();
    this.#lastError = undefined;
    // Contact by the peer ends the waiting; a link that we made has to live for a while first.
    if (!link.dialled) this.#backoff.reset();
    else this.#reachedAt = { gateway: link.peer.name, address: link.address };
    this.#enter('up');
    link.onDrain(reconnectAfterMs => {
      if (this.#link !== link) return;
      this.#enter('draining');
      this.#scheduleDial(reconnectAfterMs);
    });
    void link.closed.then(reason => this.#ended(link, reason));
    this.#flushWaiting();
    this.#host.onLink?.(link);
  }

  #ended(link: Link, reason: FedgateError): void {
    this.totals.sent += link.recordsSent;
    this.totals.received += link.recordsReceived;
    this.totals.lost += link.lostBatches;
    if (Date.now() - link.sinceMs >= GOOD_LINK_MS) this.#backoff.reset();
    if (this.#link !== link) return;
    this.#link = undefined;
    if (this.#closed) return;
    this.#lastError = reason;
    if (this.#state === 'blocked') return;
    if (this.#urgent) this.#wanted = true;
    if (this.#wanted) this.#scheduleDial(0);
    else this.#enter('idle');
  }

  get #urgent(): boolean {
    return this.#host.isUrgent?.(this.org) ?? false;
  }

  #dial(): void {
    if (this.#closed || this.#dialling || this.#link?.usable) return;
    this.#clearRetry();
    let targets: readonly DialTarget[];
    try {
      targets = this.#host.targets(this.org);
    } catch (error) {
      this.#block(error as FedgateError);
      return;
    }
    this.#knownTargets = fingerprint(targets);
    if (targets.length === 0 && !this.#host.find) {
      this.#block(new FedgateError('PEER_UNREACHABLE', `${this.org} has no address and has not dialled`), {
        keepLink: true,
      });
      return;
    }
    this.#dialling = new AbortController();
    if (this.#state !== 'draining') this.#enter('connecting');
    void this.#tryInOrder(targets, this.#dialling);
  }

  /** The ways that are known one after the other, then those that are found. */
  async #tryInOrder(targets: readonly DialTarget[], attempt: AbortController): Promise<void> {
    const { signal } = attempt;
    let error: unknown;
    for (const target of targets) {
      try {
        return this.#dialled(await this.#host.dial(target, signal), attempt);
      } catch (failure) {
        if (signal.aborted) return;
        error = failure;
      }
    }
    try {
      // What is stored must flow soon after its return to a known place: there is no time to wait for what others say.
      if (error && this.#urgent && this.#waiting.length === 0)
        this.#search.aside(targets, link => this.#foundAside(link));
      else {
        const link = await this.#search.dial(targets, signal);
        if (link) return this.#dialled(link, attempt);
      }
    } catch (failure) {
      error ??= failure;
    }
    if (signal.aborted) return;
    if (this.#dialling === attempt) this.#dialling = undefined;
    if (!this.#closed && !this.#link?.usable) this.#failed((error as FedgateError | undefined) ?? this.#notFound());
  }

  #dialled(link: Link, attempt: AbortController): void {
    if (this.#dialling === attempt) this.#dialling = undefined;
    if (attempt.signal.aborted || this.#closed) link.close(new FedgateError('CANCELLED', 'no longer wanted'));
    else this.adopt(link);
  }

  #foundAside(link: Link): void {
    if (this.#closed || this.#link?.usable || this.#state === 'blocked')
      return link.close(new FedgateError('CANCELLED', 'no longer wanted'));
    this.#stopDialling();
    this.adopt(link);
  }

  #notFound(): FedgateError {
    return new FedgateError('PEER_UNREACHABLE', `${this.org} has no address, none was found, and it has not dialled`);
  }

  #failed(error: FedgateError): void {
    this.#lastError = error;
    this.#scheduleDial(0);
    this.#refuseWaiting();
  }

  #scheduleDial(atLeastMs: number): void {
    if (this.#closed) return;
    this.#clearRetry();
    const waitMs = dialWaitMs(this.#backoff.next(), atLeastMs, this.#urgent);
    this.#nextRetryMs = Date.now() + waitMs;
    if (!this.#link?.usable) this.#enter('backoff');
    this.#retry = setTimeout(() => this.#dial(), waitMs);
  }

  #block(error: FedgateError, { keepLink = false } = {}): void {
    this.#lastError = error;
    this.#stopDialling();
    // Who may take part again is dialled again, whether or not its addresses are the old ones.
    if (!keepLink) {
      this.#knownTargets = undefined;
      this.#link?.close(error);
    }
    this.#enter('blocked');
    this.#refuseWaiting(error);
  }

  #stopDialling(): void {
    this.#clearRetry();
    this.#search.stop();
    this.#dialling?.abort();
    this.#dialling = undefined;
  }

  #clearRetry(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#nextRetryMs = 0;
  }

  #enter(state: PeerState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#sinceMs = Date.now();
    this.#host.onState(this);
  }

  #flushWaiting(): void {
    clearTimeout(this.#waitTimer);
    this.#waitTimer = undefined;
    this.#waitingBytes = 0;
    for (const { resolve, reject } of [...this.#awaiting]) {
      if (this.#link) resolve(this.#link);
      else reject(this.#unreachable());
    }
    for (const { use, reject } of this.#waiting.drain()) {
      if (this.#link) use(this.#link);
      else reject(this.#unreachable());
    }
  }

  #refuseWaiting(error: FedgateError = this.#unreachable()): void {
    clearTimeout(this.#waitTimer);
    this.#waitTimer = undefined;
    this.#waitingBytes = 0;
    for (const { reject } of [...this.#awaiting, ...this.#waiting.drain()]) reject(error);
  }

  #unreachable(): FedgateError {
    const last = this.#lastError;
    // Who is not a member, or no longer, is not "unreachable": its reason says more.
    if (this.#state === 'blocked' && last && last.reason !== 'PEER_UNREACHABLE') return last;
    const retryAfterMs = Math.max(100, this.#nextRetryMs - Date.now());
    const why = last ? `: ${last.message}` : '';
    return new FedgateError('PEER_UNREACHABLE', `${this.org} cannot be reached${why}`, {
      metadata: { org: this.org },
      retryAfterMs,
    });
  }
}

const fingerprint = (targets: readonly DialTarget[]): string => JSON.stringify(targets);
