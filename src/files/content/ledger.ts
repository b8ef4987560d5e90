import { FedgateError } from '../../errors.js';
import { type ContentRow, sharesOf } from './rows.js';

/** Unfinished uploads of one node: more than a program has under way, and a bound for one that begins and never ends them. */
export const UPLOADS_PER_NODE = 100;
/** What an upload of unknown size reserves at a time. */
export const STEP_BYTES = 64 * 1024 * 1024;
/** When it makes sense to try again: shares end and uploads expire in minutes rather than seconds. */
const RETRY_AFTER_MS = 60_000;

export interface Quotas {
  readonly sharedBytes: number;
  readonly sharedBytesPerNode: number;
  readonly cacheBytes: number;
  readonly reserveBytes: number;
}

export interface ContentEntry {
  readonly owners: ReadonlyMap<string, number>;
  readonly size: number;
  /** Bytes of its pieces that are on the disk, shared ones counted in full, and of its manifest. */
  readonly heldBytes: number;
  readonly usedMs: number;
}

export interface UploadEntry {
  readonly owner: string;
  readonly reservedBytes: number;
  readonly committedBytes: number;
  readonly usedMs: number;
}

/**
 * What counts against the quotas: the sums of all contents and uploads, kept beside their rows, and what is promised beyond.
 *
 * A content counts for each node that has a share of it, once in all; without a share it is cache. What is checked and added is so in one
 * turn, so that offers which fit one by one but not together are refused.
 */
export class Ledger {
  readonly #quotas: Quotas;
  readonly #contents = new Map<string, ContentEntry>();
  readonly #uploads = new Map<string, UploadEntry>();
  readonly #bytesOf = new Map<string, number>();
  readonly #uploadsOf = new Map<string, number>();
  #sharedBytes = 0;
  #cachedBytes = 0;
  #promisedToCache = 0;
  /** Of reservations of all kinds, what is not on the disk yet. */
  #promisedBytes = 0;

  constructor(quotas: Quotas) {
    this.#quotas = quotas;
  }

  get contents(): ReadonlyMap<string, ContentEntry> {
    return this.#contents;
  }

  get uploads(): ReadonlyMap<string, UploadEntry> {
    return this.#uploads;
  }

  /** Against `files.sharedBytes`: contents with shares, and what uploads have reserved. */
  get sharedBytes(): number {
    return this.#sharedBytes;
  }

  /** Against `files.cacheBytes`, without what is on its way. */
  get cachedBytes(): number {
    return this.#cachedBytes;
  }

  setContent(name: string, entry: ContentEntry | undefined): void {
    const before = this.#contents.get(name);
    if (before) this.#countContent(before, -1);
    if (entry) {
      this.#countContent(entry, 1);
      this.#contents.set(name, entry);
    } else this.#contents.delete(name);
  }

  setUpload(name: string, entry: UploadEntry | undefined): void {
    const before = this.#uploads.get(name);
    if (before) this.#countUpload(before, -1);
    if (entry) {
      this.#countUpload(entry, 1);
      this.#uploads.set(name, entry);
    } else this.#uploads.delete(name);
  }

  /** Reserves for an upload, new or grown, given the free bytes of the disk. Throws FILES_FULL, LIMIT_REACHED; then nothing was reserved. */
  reserveUpload(name: string, entry: UploadEntry, freeBytes: number): void {
    const before = this.#uploads.get(name);
    const { owner } = entry;
    const uploads = this.#uploadsOf.get(owner) ?? 0;
    if (!before && uploads >= UPLOADS_PER_NODE) {
      const message = `${uploads} unfinished uploads, as many as a node may have: finish or cancel some`;
      throw new FedgateError('LIMIT_REACHED', message, {
        metadata: { limit: String(UPLOADS_PER_NODE) },
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    const { sharedBytes, sharedBytesPerNode } = this.#quotas;
    const bytes = entry.reservedBytes - (before?.reservedBytes ?? 0);
    demand('files.sharedBytesPerNode', sharedBytesPerNode, this.#bytesOf.get(owner) ?? 0, bytes);
    demand('files.sharedBytes', sharedBytes, this.#sharedBytes, bytes);
    this.#demandDisk(bytes, freeBytes);
    this.setUpload(name, entry);
  }

  /** The same for an upload of unknown size that has come to `end`: a step ahead, or where that does not fit any more the piece that comes. */
  reserveStep(
    name: string,
    entry: Omit<UploadEntry, 'reservedBytes'>,
    [end, pieceSize]: [number, number],
    freeBytes: number,
  ): void {
    try {
      this.reserveUpload(name, { ...entry, reservedBytes: ceilTo(end, STEP_BYTES) }, freeBytes);
    } catch (error) {
      if (!(error instanceof FedgateError) || error.reason !== 'FILES_FULL') throw error;
      this.reserveUpload(name, { ...entry, reservedBytes: ceilTo(end, pieceSize) }, freeBytes);
    }
  }

  /** Bytes by which the cache is too large for so many more. */
  cacheExcess(bytes = 0): number {
    return this.#cachedBytes + this.#promisedToCache + bytes - this.#quotas.cacheBytes;
  }

  /** Bytes by which the disk is too full for so many more. */
  diskExcess(bytes: number, freeBytes: number): number {
    return this.#quotas.reserveBytes + this.#promisedBytes + bytes - freeBytes;
  }

  /** Reserves in the cache. Throws FILES_FULL. Answers the way to release it, in parts or what is left. */
  reserveCache(bytes: number, freeBytes: number): (part?: number) => void {
    demand('files.cacheBytes', this.#quotas.cacheBytes, this.#cachedBytes + this.#promisedToCache, bytes);
    this.#demandDisk(bytes, freeBytes);
    this.#promisedToCache += bytes;
    this.#promisedBytes += bytes;
    let left = bytes;
    return (part = left) => {
      const released = Math.min(part, left);
      left -= released;
      this.#promisedToCache -= released;
      this.#promisedBytes -= released;
    };
  }

  #demandDisk(bytes: number, freeBytes: number): void {
    demand('disk', freeBytes - this.#quotas.reserveBytes, this.#promisedBytes, bytes);
  }

  #countContent({ owners, size, heldBytes }: ContentEntry, sign: 1 | -1): void {
    if (owners.size === 0) this.#cachedBytes += sign * heldBytes;
    else this.#sharedBytes += sign * size;
    for (const owner of owners.keys()) this.#charge(owner, sign * size);
  }

  #countUpload({ owner, reservedBytes, committedBytes }: UploadEntry, sign: 1 | -1): void {
    this.#sharedBytes += sign * reservedBytes;
    this.#promisedBytes += sign * (reservedBytes - committedBytes);
    this.#charge(owner, sign * reservedBytes);
    add(this.#uploadsOf, owner, sign);
  }

  #charge(owner: string, bytes: number): void {
    add(this.#bytesOf, owner, bytes);
  }
}

/** The entry of a content with so many bytes of pieces on the disk. */
export const entryOf = (row: ContentRow, pieceBytes: number): ContentEntry => ({
  owners: sharesOf(row) > 0 ? row.owners : new Map(),
  size: row.manifest?.size ?? 0,
  heldBytes: pieceBytes + (row.manifest?.pieces.length ?? 0),
  usedMs: row.usedMs,
});

const ceilTo = (bytes: number, unit: number): number => Math.max(1, Math.ceil(bytes / unit)) * unit;

function add(sums: Map<string, number>, name: string, amount: number): void {
  const sum = (sums.get(name) ?? 0) + amount;
  if (sum === 0) sums.delete(name);
  else sums.set(name, sum);
}

type Quota = 'files.sharedBytesPerNode' | 'files.sharedBytes' | 'files.cacheBytes' | 'disk';

const REMEDIES: { readonly [quota in Quota]: string } = {
  'files.sharedBytesPerNode': 'shares that are removed make room, or a larger quota in gateway.yaml',
  'files.sharedBytes': 'shares that are removed make room, or a larger quota in gateway.yaml',
  'files.cacheBytes': 'fetches that end make room, or a larger quota in gateway.yaml',
  disk: 'what is left of it is kept free (files.reserveBytes in gateway.yaml)',
};

function demand(quota: Quota, limit: number, used: number, bytes: number): void {
  if (bytes <= 0 || used + bytes <= limit) return;
  const message = `no room for ${bytes} bytes: ${quota} allows ${Math.max(0, limit)}, and ${used} are taken; ${REMEDIES[quota]}`;
  throw new FedgateError('FILES_FULL', message, {
    metadata: { quota, limit: String(Math.max(0, limit)), used: String(used) },
    retryAfterMs: RETRY_AFTER_MS,
  });
}
