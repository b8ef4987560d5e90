import type {
  PlacesAsk,
  PlacesTold,
  SnapshotKnown,
  SnapshotPart,
  SnapshotWant,
} from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError, fieldError } from '../errors.js';
import type { AddressHint } from '../finding/types.js';
import { type OrgName, parseGatewayName, parseHostPort, parseOrgName } from '../identity/names.js';
import { TokenBucket } from '../token-bucket.js';
import type { Acquaintance } from './acquaintance.js';
import {
  KNOWN_EVERY_MS,
  type KnownSnapshot,
  MAX_OPEN_PLACES,
  MAX_PLACES,
  type OfferedSnapshot,
  PLACES_RATE,
  PLACES_TIMEOUT_MS,
  SNAPSHOT_PART_BYTES,
} from './acquaintance-terms.js';
import type { IncomingFrame, Lane } from './lane.js';
import { SnapshotTransfer } from './snapshot-transfer.js';

interface OpenQuestion {
  settle(places: readonly AddressHint[]): void;
}

/** What one link passes on about other members, both ways, on its control lane. */
export class LinkAcquaintance {
  readonly org: OrgName;
  readonly #lane: Lane;
  readonly #all: Acquaintance;
  /** What the peer was told last; it may ask for it once. */
  #told: KnownSnapshot | undefined;
  #asked = false;
  #toldMs = Number.NEGATIVE_INFINITY;
  #tellLater: NodeJS.Timeout | undefined;
  #transfer: SnapshotTransfer | undefined;
  readonly #questions = new Map<bigint, OpenQuestion>();
  readonly #rate = new TokenBucket(PLACES_RATE.burst, PLACES_RATE.perSecond, performance.now());
  #lastAsked = 0n;
  #lastHeard = 0n;

  constructor(lane: Lane, org: OrgName, all: Acquaintance) {
    this.#lane = lane;
    this.org = org;
    this.#all = all;
  }

  /** False: the frame is none of these. Throws what must end the link: FRAME_UNEXPECTED, FIELD_INVALID. */
  take(frame: IncomingFrame): boolean {
    if (frame.$case === 'snapshotKnown') this.#hear(frame.value);
    else if (frame.$case === 'snapshotWant') this.#give(frame.value);
    else if (frame.$case === 'snapshotPart') this.#takePart(frame.value);
    else if (frame.$case === 'placesAsk') this.#answer(frame.value);
    else if (frame.$case === 'placesTold') this.#takePlaces(frame.value);
    else return false;
    return true;
  }

  /** Tells the peer which snapshot there is, now or soon: what changes often is told once a second. */
  tell(): void {
    if (this.#tellLater) return;
    const waitMs = this.#toldMs + KNOWN_EVERY_MS - performance.now();
    if (waitMs <= 0) return this.#tellNow();
    this.#tellLater = setTimeout(() => {
      this.#tellLater = undefined;
      this.#tellNow();
    }, waitMs);
  }

  /** Asks for the snapshot that the peer told of last. Rejects with PEER_UNREACHABLE, or SNAPSHOT_INVALID for one that is too large. */
  async fetch(offered: OfferedSnapshot): Promise<Buffer> {
    const transfer = new SnapshotTransfer(offered);
    this.#transfer = transfer;
    this.#lane.put({ $case: 'snapshotWant', value: { version: offered.version } });
    return transfer.whole;
  }

  /** What the peer says about where an organisation is. Empty when it says nothing in time. */
  askPlaces(org: OrgName): Promise<readonly AddressHint[]> {
    if (this.#questions.size >= MAX_OPEN_PLACES || this.#lane.closed.aborted) return Promise.resolve([]);
    const id = ++this.#lastAsked;
    return new Promise(resolve => {
      const settle = (places: readonly AddressHint[]): void => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(places);
      };
      const timer = setTimeout(() => settle([]), PLACES_TIMEOUT_MS);
      this.#questions.set(id, { settle });
      this.#lane.put({ $case: 'placesAsk', value: { id, org } });
    });
  }

  close(reason: FedgateError): void {
    clearTimeout(this.#tellLater);
    this.#tellLater = undefined;
    this.#told = undefined;
    this.#transfer?.end(new FedgateError('PEER_UNREACHABLE', 'the link ended', { cause: reason }));
    for (const { settle } of [...this.#questions.values()]) settle([]);
  }

  #tellNow(): void {
    const known = this.#all.known();
    if (!known || this.#lane.closed.aborted || this.#told?.version === known.version) return;
    this.#told = known;
    this.#asked = false;
    this.#toldMs = performance.now();
    const { version, sha256, bytes } = known;
    this.#lane.put({ $case: 'snapshotKnown', value: { version, sha256, sizeBytes: bytes.length } });
  }

  #hear({ version, sha256, sizeBytes }: SnapshotKnown): void {
    if (sha256.length !== 32) throw fieldError('snapshot_known.sha256', 'must be 32 bytes');
    this.#all.heard(this, { version, sha256: Buffer.from(sha256), sizeBytes });
  }

  #give({ version }: SnapshotWant): void {
    // It was asked for before the next one was told.
    if (this.#told && version < this.#told.version && !this.#asked) return;
    if (version !== this.#told?.version || this.#asked)
      throw new FedgateError('FRAME_UNEXPECTED', `snapshot ${version} was not offered, or was handed over already`);
    this.#asked = true;
    void this.#send(this.#told);
  }

  /** A part at a time, as the lane takes them: heartbeats find room between them. Whatever ends the lane ends this. */
  async #send({ version, bytes }: KnownSnapshot): Promise<void> {
    try {
      for (let offset = 0; offset < bytes.length; offset += SNAPSHOT_PART_BYTES) {
        await this.#lane.sendWhenReady({
          $case: 'snapshotPart',
          value: { version, offset, data: bytes.subarray(offset, offset + SNAPSHOT_PART_BYTES) },
        });
      }
    } catch {
      // The lane is over, and so is all that went over it.
    }
  }

  #takePart({ version, offset, data }: SnapshotPart): void {
    if (!this.#transfer) throw new FedgateError('FRAME_UNEXPECTED', 'a part of a snapshot that was not asked for');
    if (this.#transfer.take(version, offset, data)) this.#transfer = undefined;
  }

  #answer({ id, org }: PlacesAsk): void {
    if (id <= this.#lastHeard) throw new FedgateError('FRAME_UNEXPECTED', `question ${id} after ${this.#lastHeard}`);
    this.#lastHeard = id;
    const asked = parseOrgName(org, 'places_ask.org');
    const told = this.#rate.take(performance.now()) > 0 ? [] : this.#all.placesOf(asked).slice(0, MAX_PLACES);
    // Who asks without reading the answers gets none.
    if (!this.#lane.out.writable) return;
    const places = told.map(({ gateway = '', address }) => ({ gateway, address }));
    this.#lane.put({ $case: 'placesTold', value: { id, places } });
  }

  #takePlaces({ id, places }: PlacesTold): void {
    if (id === 0n || id > this.#lastAsked) throw new FedgateError('FRAME_UNEXPECTED', `an answer to question ${id}`);
    if (places.length > MAX_PLACES) throw fieldError('places_told.places', `has more than ${MAX_PLACES} entries`);
    for (const { gateway, address } of places) {
      parseGatewayName(gateway, 'places_told.gateway');
      parseHostPort(address, 'places_told.address');
    }
    this.#questions.get(id)?.settle(places);
  }
}
