import type { OrgName } from '../identity/names.js';
import type { DialTarget } from './dial.js';
import { dialAny } from './dial-any.js';
import type { Link } from './link.js';
import type { PeerHost } from './peer.js';

/** Looks for ways to an organisation beside those that are known, and tries them. */
export class Search {
  readonly #org: OrgName;
  readonly #host: PeerHost;
  #aside: AbortController | undefined;

  constructor(org: OrgName, host: PeerHost) {
    this.#org = org;
    this.#host = host;
  }

  /** Undefined: nothing was found. Throws what the first way said when all failed. */
  async dial(known: readonly DialTarget[], signal: AbortSignal): Promise<Link | undefined> {
    const tried = new Set(known.map(wayOf));
    const found = (await this.#host.find?.(this.#org)) ?? [];
    const targets = found.filter(target => !tried.has(wayOf(target)));
    if (signal.aborted || targets.length === 0) return undefined;
    // Hints are tried beside each other, so that bad ones cost no more time than one.
    return dialAny(targets, {
      dial: (target, ended) => this.#host.dial(target, ended),
      onFailure: target => this.#host.onFoundNothing?.(target),
      signal,
    });
  }

  /** The same beside the dialling of the known ways, which goes on meanwhile. One at a time. */
  aside(known: readonly DialTarget[], use: (link: Link) => void): void {
    if (this.#aside || !this.#host.find) return;
    const aside = new AbortController();
    this.#aside = aside;
    const over = (): void => {
      if (this.#aside === aside) this.#aside = undefined;
    };
    this.dial(known, aside.signal)
      .then(link => {
        if (link) use(link);
      })
      .then(over, over);
  }

  /** Gives up what runs aside. */
  stop(): void {
    this.#aside?.abort();
    this.#aside = undefined;
  }
}

const wayOf = ({ gateway, address }: DialTarget): string => `${gateway}@${address}`;
