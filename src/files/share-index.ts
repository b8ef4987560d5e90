import type { StoredShare } from './share-row.js';

/** What is kept in memory of a share; all else is read when it is wanted. */
export interface ShareEntry {
  readonly id: Buffer;
  readonly name: string;
  readonly ownerNode: string;
  readonly createMs: number;
  readonly upload: string;
  expireMs: number;
  /** 0: it was not unshared. */
  unsharedMs: number;
}

export const shareKey = (id: Buffer): string => id.toString('latin1');
export const uploadKey = (owner: string, uploadId: Buffer): string => `${owner} ${uploadId.toString('latin1')}`;

const order = (a: Place, b: Place): number => a.createMs - b.createMs || Buffer.compare(a.id, b.id);

/** A place in the order of shares: oldest first. */
export interface Place {
  readonly createMs: number;
  readonly id: Buffer;
}

/** All shares of the own organisation by id, by upload, and in order. */
export class ShareIndex {
  readonly #byId = new Map<string, ShareEntry>();
  readonly #byUpload = new Map<string, ShareEntry>();
  readonly #ordered: ShareEntry[] = [];

  get size(): number {
    return this.#ordered.length;
  }

  [Symbol.iterator](): Iterator<ShareEntry> {
    return this.#ordered[Symbol.iterator]();
  }

  add({ id, ownerNode, createMs, expireMs, unsharedMs, uploadId }: StoredShare): void {
    const entry = {
      id,
      name: shareKey(id),
      ownerNode,
      createMs,
      upload: uploadKey(ownerNode, uploadId),
      expireMs,
      unsharedMs,
    };
    this.#byId.set(entry.name, entry);
    this.#byUpload.set(entry.upload, entry);
    this.#ordered.splice(this.#after(entry), 0, entry);
  }

  get(id: Buffer): ShareEntry | undefined {
    return this.#byId.get(shareKey(id));
  }

  ofUpload(owner: string, uploadId: Buffer): ShareEntry | undefined {
    return this.#byUpload.get(uploadKey(owner, uploadId));
  }

  remove(entry: ShareEntry): void {
    if (!this.#byId.delete(entry.name)) return;
    if (this.#byUpload.get(entry.upload) === entry) this.#byUpload.delete(entry.upload);
    this.#ordered.splice(this.#after(entry) - 1, 1);
  }

  /** Those behind a place, in order; all when there is none. */
  *behind(place: Place | undefined): Iterable<ShareEntry> {
    // A copy: what is read meanwhile must not skip or repeat what others add and remove.
    yield* this.#ordered.slice(place ? this.#after(place) : 0);
  }

  /** Where the first one stands that comes behind a place. */
  #after(place: Place): number {
    let low = 0;
    let high = this.#ordered.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order(this.#ordered[middle] as ShareEntry, place) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
