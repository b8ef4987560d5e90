import { SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError } from '../errors.js';
import type { AddressHint } from '../finding/types.js';
import type { OrgName } from '../identity/names.js';
import { sha256 as sha256Of } from '../sha256.js';
import {
  type AcquaintanceHost,
  BESIDE_AFTER_MS,
  type KnownSnapshot,
  MAX_ASKED_PEERS,
  MAX_TRANSFERS,
  MUTED_MS,
  type OfferedSnapshot,
  REGISTRY_FIRST_MS,
  type TellPlaces,
} from './acquaintance-terms.js';
import type { LinkAcquaintance } from './link-acquaintance.js';

/**
 * What this gateway and its peers pass on to each other about other members.
 *
 * A snapshot that comes through a peer is judged as one that comes from the registry: its signature, a version that only rises, its end. A peer
 * that hands on anything else is not listened to for a while, and nothing else changes. One snapshot at a time is fetched, whoever offers it, and another one beside it only when that takes long.
 */
export class Acquaintance {
  readonly #host: AcquaintanceHost;
  readonly #tellPlaces: TellPlaces;
  readonly #links = new Set<LinkAcquaintance>();
  readonly #offers = new Map<LinkAcquaintance, OfferedSnapshot>();
  readonly #muted = new Map<OrgName, number>();
  readonly #unsubscribe: () => void;
  #known: KnownSnapshot | undefined;
  #timer: NodeJS.Timeout | undefined;
  #fetching = 0;
  #closed = false;

  constructor(host: AcquaintanceHost, tellPlaces: TellPlaces) {
    this.#host = host;
    this.#tellPlaces = tellPlaces;
    this.#unsubscribe = host.directory.onChange(() => {
      if (host.snapshots) for (const link of this.#links) link.tell();
    });
  }

  joined(link: LinkAcquaintance): void {
    this.#links.add(link);
    if (this.#host.snapshots) link.tell();
  }

  left(link: LinkAcquaintance): void {
    this.#links.delete(link);
    this.#offers.delete(link);
  }

  /** The snapshot at hand. Undefined: there is none that is good. */
  known(): KnownSnapshot | undefined {
    const { signed, version } = this.#host.directory;
    if (!signed || !this.#host.snapshots) return undefined;
    if (this.#known?.version !== version) {
      const bytes = Buffer.from(SignedSnapshot.encode(signed).finish());
      this.#known = { version, sha256: sha256Of(signed.snapshot), bytes };
    }
    return this.#known;
  }

  /** A peer goes by another snapshot. */
  heard(link: LinkAcquaintance, offered: OfferedSnapshot): void {
    if (!this.#host.snapshots || !this.#wants(offered) || this.#isMuted(link.org)) return;
    this.#offers.set(link, offered);
    this.#schedule();
  }

  /** Where this gateway itself reaches an organisation, for a peer that asks. */
  placesOf(org: OrgName): readonly AddressHint[] {
    return this.#host.addresses ? this.#tellPlaces(org) : [];
  }

  /** What peers say of where an organisation is: one word of each before the second of any. Throws PEER_UNREACHABLE when none can be asked. */
  async askPlaces(org: OrgName): Promise<readonly AddressHint[]> {
    const others = [...this.#links].filter(link => link.org !== org).slice(0, MAX_ASKED_PEERS);
    if (others.length === 0) throw new FedgateError('PEER_UNREACHABLE', 'there is no other peer to ask');
    const answers = await Promise.all(others.map(link => link.askPlaces(org)));
    const longest = Math.max(...answers.map(({ length }) => length));
    return Array.from({ length: longest }, (_, i) => answers.flatMap(answer => answer.slice(i, i + 1))).flat();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unsubscribe();
  }

  /** A newer one, or another one of the same version: that is a fork, which is worth knowing. */
  #wants({ version, sha256 }: OfferedSnapshot): boolean {
    const own = this.#host.directory.version;
    return version > own || (version === own && this.known()?.sha256.equals(sha256) === false);
  }

  #isMuted(org: OrgName): boolean {
    return (this.#muted.get(org) ?? Number.NEGATIVE_INFINITY) > performance.now();
  }

  /** The registry itself is given a moment: most changes come from it at about the same time. Who hands over slowly holds up nobody else. */
  #schedule(): void {
    if (this.#timer || this.#closed || this.#fetching >= MAX_TRANSFERS) return;
    const waitMs = this.#fetching > 0 ? BESIDE_AFTER_MS : this.#host.registryConnected() ? REGISTRY_FIRST_MS : 0;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#takeOne();
    }, waitMs);
  }

  async #takeOne(): Promise<void> {
    const best = this.#bestOffer();
    if (!best || this.#closed) return;
    const [link, offered] = best;
    this.#offers.delete(link);
    this.#fetching++;
    if (this.#offers.size > 0) this.#schedule();
    try {
      const bytes = await link.fetch(offered);
      if (bytes && this.#take(bytes, offered)) this.#host.onTaken(link.org, offered.version);
    } catch (error) {
      this.#refused(link, error);
    } finally {
      this.#fetching--;
      this.#hurry();
    }
  }

  /** A place is free: whoever waits for one has waited enough. */
  #hurry(): void {
    if (this.#offers.size === 0 || this.#fetching > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#schedule();
  }

  /** The newest that is still wanted. What is not is forgotten. */
  #bestOffer(): [LinkAcquaintance, OfferedSnapshot] | undefined {
    for (const [link, offered] of this.#offers) {
      if (!this.#wants(offered) || this.#isMuted(link.org)) this.#offers.delete(link);
    }
    return [...this.#offers].sort(([, a], [, b]) => Number(b.version - a.version))[0];
  }

  /** Whether it is new. Throws SNAPSHOT_*, FEDERATION_MISMATCH. */
  #take(bytes: Buffer, { version, sha256 }: OfferedSnapshot): boolean {
    let signed: SignedSnapshot;
    try {
      signed = SignedSnapshot.decode(bytes);
    } catch (cause) {
      throw new FedgateError('SNAPSHOT_INVALID', 'what a peer handed on is no snapshot', { cause });
    }
    if (!sha256Of(signed.snapshot).equals(sha256))
      throw new FedgateError('SNAPSHOT_INVALID', 'a peer handed on another snapshot than it offered');
    // It came another way meanwhile.
    if (version < this.#host.directory.version) return false;
    return this.#host.directory.offer(signed);
  }

  #refused(link: LinkAcquaintance, error: unknown): void {
    // Nobody's lie: the line broke. The next link tells again.
    if (!this.#links.has(link)) return;
    const { org } = link;
    this.#muted.set(org, performance.now() + MUTED_MS);
    this.#host.onAlarm(
      error instanceof FedgateError ? error : new FedgateError('INTERNAL', 'internal error', { cause: error }),
      org,
    );
  }
}
