import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { LaneDoor, LaneOffer } from './extra-lanes.js';
import { FilesSession } from './files-session.js';
import { asCancelled, FILES_TIMING, type FilesHost } from './files-terms.js';
import { FILES, LANE, type LaneKind } from './hello.js';
import type { Lane } from './lane.js';
import type { Link } from './link.js';

interface Current {
  readonly link: Link;
  /** The lane on which this side asks. Undefined: it is not open yet, or never will be. */
  readonly session: FilesSession | undefined;
}

interface Waiting {
  resolve(session: FilesSession): void;
  reject(error: FedgateError): void;
}

/** The files lanes of all links, and those who wait for one. */
export class FilesLanes {
  /** Each link has two of them: one for each side that asks. */
  readonly doors: readonly LaneDoor[] = [this.#door(LANE.files), this.#door(LANE.filesBack)];
  readonly #host: FilesHost;
  readonly #current = new Map<OrgName, Current>();
  readonly #waiting = new Map<OrgName, Set<Waiting>>();

  constructor(host: FilesHost) {
    this.#host = host;
  }

  /** A link is up; its files lane follows if the peer has any. */
  linked(link: Link): void {
    const { org } = link.peer;
    this.#current.set(org, { link, session: undefined });
    void link.closed.then(() => {
      if (this.#current.get(org)?.link === link) this.#current.delete(org);
    });
    if (!link.peerCan(FILES)) this.#refuse(org, unsupported(org));
  }

  /** Whether somebody waits for a link to the organisation. */
  isAwaited(org: OrgName): boolean {
    return this.#waiting.has(org);
  }

  /** The lane on which an organisation is asked, once there is one. Rejects with PEER_UNREACHABLE after a while, FEATURE_UNSUPPORTED, or as `signal` says. */
  session(org: OrgName, signal: AbortSignal, why: () => FedgateError | undefined): Promise<FilesSession> {
    const current = this.#current.get(org);
    if (current?.link.usable) {
      if (current.session) return Promise.resolve(current.session);
      if (!current.link.peerCan(FILES)) return Promise.reject(unsupported(org));
    }
    return this.#wait(org, signal, why);
  }

  close(): void {
    for (const org of this.#waiting.keys())
      this.#refuse(org, new FedgateError('DRAINING', 'the gateway is about to stop'));
  }

  #door(kind: LaneKind): LaneDoor {
    const start: LaneOffer['start'] = (link, { lane }) => this.#start(kind, link, lane);
    return { kind, capabilities: [FILES], offer: async () => ({ hello: {}, start }) };
  }

  #start(kind: LaneKind, link: Link, lane: Lane): FilesSession {
    const { peer } = link;
    const role = link.dialled === (kind === LANE.files) ? 'asker' : 'holder';
    const session = new FilesSession({ host: this.#host, peer, lane, role });
    if (role === 'asker' && this.#current.get(peer.org)?.link === link) {
      this.#current.set(peer.org, { link, session });
      for (const waiting of this.#waiting.get(peer.org) ?? []) waiting.resolve(session);
    }
    return session;
  }

  #refuse(org: OrgName, error: FedgateError): void {
    for (const waiting of this.#waiting.get(org) ?? []) waiting.reject(error);
  }

  async #wait(org: OrgName, signal: AbortSignal, why: () => FedgateError | undefined): Promise<FilesSession> {
    const { linkWaitMs } = { ...FILES_TIMING, ...this.#host.timing };
    const all = this.#waiting.get(org) ?? new Set();
    this.#waiting.set(org, all);
    let done: () => void = () => undefined;
    try {
      return await new Promise<FilesSession>((resolve, reject) => {
        const waiting = { resolve, reject };
        const timer = setTimeout(() => reject(unreachable(org, why())), linkWaitMs);
        const abort = (): void => reject(asCancelled(signal.reason));
        done = () => {
          clearTimeout(timer);
          signal.removeEventListener('abort', abort);
          all.delete(waiting);
        };
        all.add(waiting);
        if (signal.aborted) abort();
        signal.addEventListener('abort', abort, { once: true });
      });
    } finally {
      done();
      if (all.size === 0) this.#waiting.delete(org);
    }
  }
}

const unsupported = (org: OrgName): FedgateError =>
  new FedgateError('FEATURE_UNSUPPORTED', `the gateway of ${org} has no files`, { metadata: { org } });

const unreachable = (org: OrgName, last: FedgateError | undefined): FedgateError =>
  new FedgateError('PEER_UNREACHABLE', `${org} cannot be reached${last ? `: ${last.message}` : ''}`, {
    metadata: { org },
  });
