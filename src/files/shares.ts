import { randomBytes } from 'node:crypto';
import { FileDownloadRow } from '../../gen/ts/fedgate/store/v1/file.js';
import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { key, prefixed } from '../store/keys.js';
import { Change, type Store } from '../store/store.js';
import { type Groups, matches } from './audience.js';
import { Turns } from './content/turns.js';
import type { Contents } from './content/types.js';
import { type EndedWhy, OpenDownloads, shareEnded, shareUnknown } from './open-downloads.js';
import { formatShareId } from './share-id.js';
import { type Place, type ShareEntry, ShareIndex } from './share-index.js';
import { DOWNLOAD, decodeShare, encodeShare, SHARE, type StoredShare } from './share-row.js';
import type { Asker, Audience, DownloadRequest, Manifest } from './types.js';

/** What of a share its owner decides. */
export interface ShareTerms {
  readonly ownerNode: string;
  readonly uploadId: Buffer;
  readonly startSha256: Buffer;
  readonly name: string;
  readonly mediaType: string;
  readonly audience: Audience;
  readonly expireMs: number;
  readonly maxDownloads: number;
  readonly requiresApproval: boolean;
}

/** What may be changed later. What is not there stays. */
export interface ShareChanges {
  readonly audience?: Audience;
  readonly expireMs?: number;
  readonly maxDownloads?: number;
}

export type ShareEvent =
  | { readonly kind: 'row-damaged'; readonly table: string; readonly key: string }
  | { readonly kind: 'share-over'; readonly share: string; readonly why: EndedWhy }
  | { readonly kind: 'sweep-failed'; readonly error: unknown };

export interface SharesOptions {
  readonly org: OrgName;
  readonly store: Store;
  readonly contents: Pick<Contents, 'dropShare'>;
  /** Whether a share that requires an approval has one. Once it has, it keeps it. */
  readonly isApproved: (share: StoredShare) => Promise<boolean>;
  readonly groups: Groups;
  /** How long a share that is over is remembered, milliseconds. */
  readonly keepMs: number;
  readonly now: () => number;
  readonly onEvent: (event: ShareEvent) => void;
}

/** A right to fetch, as long as `ended` has not fired. */
export interface Admission {
  readonly share: StoredShare;
  readonly ended: AbortSignal;
  release(): void;
}

/** Shares of one gateway, those that are over and still remembered included. */
const MAX_SHARES = 100_000;
/** Downloads of a share without a limit that are told apart; later ones count each time they are opened. */
const MAX_DOWNLOAD_ROWS = 100_000;
/** The clock may be set: expiry is looked at so often at the least. */
const LOOK_MS = 30_000;
const SCAN_ROWS = 500;
const MAX_COUNT = 2 ** 32 - 1;

/** The shares of the own organisation: who may fetch what, until when, and how often that was done. */
export class Shares {
  readonly #options: SharesOptions;
  readonly #index = new ShareIndex();
  readonly #downloads = new OpenDownloads();
  readonly #turns = new Turns();
  #timer: NodeJS.Timeout | undefined;
  /** 0: no look is due. */
  #nextLookMs = 0;
  #closed = false;

  private constructor(options: SharesOptions) {
    this.#options = options;
  }

  static async open(options: SharesOptions): Promise<Shares> {
    const shares = new Shares(options);
    await shares.#load();
    shares.#look();
    return shares;
  }

  get size(): number {
    return this.#index.size;
  }

  /** Those that are neither unshared nor expired. */
  get open(): number {
    let open = 0;
    for (const entry of this.#index) if (entry.unsharedMs === 0 && !this.#expired(entry)) open++;
    return open;
  }

  /** A new share of a content. It is there once its row is committed and `enter` was called. Throws LIMIT_REACHED. */
  make(terms: ShareTerms, content: { readonly id: Buffer; readonly manifest: Manifest }): StoredShare {
    this.checkRoom();
    const { size, sha256 } = content.manifest;
    return {
      ...terms,
      org: this.#options.org,
      id: randomBytes(16),
      size,
      sha256,
      manifestSha256: content.id,
      createMs: this.#options.now(),
      downloads: 0,
      unsharedMs: 0,
    };
  }

  /** Throws LIMIT_REACHED when there are as many as there may be. */
  checkRoom(): void {
    if (this.#index.size < MAX_SHARES) return;
    throw new FedgateError('LIMIT_REACHED', `the gateway has ${this.#index.size} shares`, {
      metadata: { limit: 'shares' },
    });
  }

  put(change: Change, share: StoredShare): void {
    change.put(SHARE, share.id, encodeShare(share));
  }

  /** Takes a share whose row is committed. */
  enter(share: StoredShare): void {
    this.#index.add(share);
    this.#lookBy(share.expireMs);
  }

  /** The share that an upload became. */
  async ofUpload(owner: string, uploadId: Buffer): Promise<StoredShare | undefined> {
    const entry = this.#index.ofUpload(owner, uploadId);
    return entry && this.#read(entry);
  }

  /** A share of the own organisation, over or not. */
  async get(id: Buffer): Promise<StoredShare | undefined> {
    const entry = this.#index.get(id);
    return entry && this.#read(entry);
  }

  /** Those that were not unshared, oldest first; `last`: where the page ends, when there may be more. */
  async list(
    owner: string | undefined,
    after: Place | undefined,
    limit: number,
  ): Promise<{ readonly shares: readonly StoredShare[]; readonly last: Place | undefined }> {
    const shares: StoredShare[] = [];
    for (const entry of this.#index.behind(after)) {
      if (entry.unsharedMs > 0 || (owner !== undefined && entry.ownerNode !== owner)) continue;
      if (shares.length === limit) return { shares, last: shares.at(-1) };
      const share = await this.#read(entry);
      if (share) shares.push(share);
    }
    return { shares, last: undefined };
  }

  /**
   * Lets somebody fetch, or look. What counts is counted, durably, before it resolves.
   *
   * Throws SHARE_UNKNOWN, SHARE_ENDED, APPROVAL_MISSING, STORE_*.
   */
  admit(asker: Asker, { shareId, downloadId, look }: DownloadRequest): Promise<Admission> {
    const entry = this.#index.get(shareId);
    if (!entry) return Promise.reject(shareUnknown(this.#nameOf(shareId)));
    return this.#turns.run(entry.name, async () => {
      const share = await this.#admissible(entry, asker);
      if (look) return { share, ...this.#downloads.add(entry.name, asker) };
      // Once is enough: no approval is ever taken back.
      if (share.requiresApproval && !(await this.#options.isApproved(share))) {
        const id = formatShareId(share);
        throw new FedgateError('APPROVAL_MISSING', `${id} needs an approval, and there is none`, {
          metadata: { share: id },
        });
      }
      const counted = await this.#count(share, asker, downloadId);
      // It may have expired while that was written.
      this.#checkOver(entry);
      return { share: counted, ...this.#downloads.add(entry.name, asker) };
    });
  }

  /** Throws SHARE_ENDED once a share has expired or was unshared: for downloads under way, whose timer may be late. */
  checkNow(id: Buffer): void {
    const entry = this.#index.get(id);
    if (entry) this.#checkOver(entry);
  }

  /** `check` is given the share as it is and throws when it may not be changed. Throws SHARE_UNKNOWN, SHARE_ENDED (unshared). */
  change(id: Buffer, check: (share: StoredShare) => void, changes: ShareChanges): Promise<StoredShare> {
    return this.#changing(id, check, async (entry, share) => {
      const changed = { ...share, ...changes };
      const change = new Change();
      this.put(change, changed);
      await this.#options.store.commit(change);
      entry.expireMs = changed.expireMs;
      this.#downloads.end(entry.name, shareUnknown(formatShareId(share)), asker => this.#isFor(changed, asker));
      this.#lookBy(changed.expireMs);
      return changed;
    });
  }

  /** Ends a share; its content is let go at once. As `change`. */
  unshare(id: Buffer, check: (share: StoredShare) => void): Promise<void> {
    return this.#changing(id, check, async (entry, share) => {
      const over = { ...share, unsharedMs: this.#options.now() };
      await this.#options.contents.dropShare(share.manifestSha256, change => this.put(change, over), share.ownerNode);
      entry.unsharedMs = over.unsharedMs;
      this.#downloads.end(entry.name, shareEnded(formatShareId(share), 'unshared'));
      this.#options.onEvent({ kind: 'share-over', share: formatShareId(share), why: 'unshared' });
    });
  }

  /** Ends the downloads of those who are in the audience no more: groups mean others than before. */
  recheck(): void {
    for (const name of this.#downloads.shares) {
      const entry = this.#index.get(Buffer.from(name, 'latin1'));
      if (!entry) continue;
      const rechecked = this.#turns.run(name, async () => {
        const share = await this.#read(entry);
        if (share && share.audience.groups.length > 0)
          this.#downloads.end(name, shareUnknown(formatShareId(share)), asker => this.#isFor(share, asker));
      });
      rechecked.catch(error => this.#options.onEvent({ kind: 'sweep-failed', error }));
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#downloads.endAll(new FedgateError('DRAINING', 'the gateway is about to stop'));
    await this.#turns.idle();
  }

  async #load(): Promise<void> {
    const { store, onEvent } = this.#options;
    let from: Buffer | undefined;
    for (;;) {
      const rows = await store.scan(SHARE, { ...(from ? { from } : {}), limit: SCAN_ROWS });
      for (const row of rows) {
        try {
          this.#index.add(decodeShare(row.value));
        } catch {
          onEvent({ kind: 'row-damaged', table: SHARE, key: row.key.toString('hex') });
        }
      }
      const last = rows.at(-1);
      if (!last || rows.length < SCAN_ROWS) return;
      from = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }

  async #read(entry: ShareEntry): Promise<StoredShare | undefined> {
    const value = await this.#options.store.get(SHARE, entry.id);
    if (!value) return undefined;
    try {
      return decodeShare(value);
    } catch (cause) {
      throw new FedgateError('STORE_DAMAGED', `the row of ${this.#nameOf(entry.id)} is not one of a share`, { cause });
    }
  }

  async #admissible(entry: ShareEntry, asker: Asker): Promise<StoredShare> {
    const share = await this.#read(entry);
    if (!share || !this.#isFor(share, asker)) throw shareUnknown(this.#nameOf(entry.id));
    this.#checkOver(entry);
    return share;
  }

  #isFor(share: StoredShare, asker: Asker): boolean {
    const { org, groups } = this.#options;
    return (asker.org === org && asker.node === share.ownerNode) || matches(share.audience, asker, groups);
  }

  #checkOver(entry: ShareEntry): void {
    if (entry.unsharedMs > 0) throw shareEnded(this.#nameOf(entry.id), 'unshared');
    if (this.#expired(entry)) throw shareEnded(this.#nameOf(entry.id), 'expired');
  }

  #expired({ expireMs }: ShareEntry): boolean {
    return expireMs > 0 && expireMs <= this.#options.now();
  }

  /** Counts a download that was not counted before. Throws SHARE_ENDED when there were as many as there may be. */
  async #count(share: StoredShare, { org, node }: Asker, downloadId: Buffer): Promise<StoredShare> {
    const { store, now } = this.#options;
    const rowKey = key(share.id, org, node, downloadId);
    if (await isThere(store, rowKey)) return share;
    if (share.maxDownloads > 0 && share.downloads >= share.maxDownloads) {
      throw shareEnded(formatShareId(share), 'max-downloads');
    }
    const counted = { ...share, downloads: Math.min(share.downloads + 1, MAX_COUNT) };
    const change = new Change();
    this.put(change, counted);
    if (share.maxDownloads > 0 || share.downloads < MAX_DOWNLOAD_ROWS) {
      change.put(DOWNLOAD, rowKey, Buffer.from(FileDownloadRow.encode({ startMs: BigInt(now()) }).finish()));
    }
    await store.commit(change);
    return counted;
  }

  #changing<T>(
    id: Buffer,
    check: (share: StoredShare) => void,
    work: (entry: ShareEntry, share: StoredShare) => Promise<T>,
  ): Promise<T> {
    const entry = this.#index.get(id);
    if (!entry) return Promise.reject(shareUnknown(this.#nameOf(id)));
    return this.#turns.run(entry.name, async () => {
      const share = await this.#read(entry);
      if (!share) throw shareUnknown(this.#nameOf(id));
      check(share);
      if (entry.unsharedMs > 0) throw shareEnded(this.#nameOf(id), 'unshared');
      return work(entry, share);
    });
  }

  /** Ends what has expired, removes what is over for long, and looks again when the next one is due. */
  #look(): void {
    this.#nextLookMs = 0;
    const { now, keepMs } = this.#options;
    let next = now() + LOOK_MS;
    for (const entry of [...this.#index]) {
      const { expireMs, unsharedMs } = entry;
      const overMs = unsharedMs || expireMs;
      if (this.#expired(entry)) this.#downloads.end(entry.name, shareEnded(this.#nameOf(entry.id), 'expired'));
      else if (expireMs > 0) next = Math.min(next, expireMs);
      if (overMs > 0 && overMs + keepMs <= now()) this.#forget(entry);
    }
    this.#lookBy(next);
  }

  /** Looks at that time, or before. 0: not for this. */
  #lookBy(timeMs: number): void {
    const now = this.#options.now();
    if (this.#closed || timeMs === 0 || (this.#nextLookMs > now && this.#nextLookMs <= timeMs)) return;
    clearTimeout(this.#timer);
    this.#nextLookMs = timeMs;
    this.#timer = setTimeout(() => this.#look(), Math.max(1, Math.min(timeMs - now, LOOK_MS))).unref();
  }

  #forget(entry: ShareEntry): void {
    const { store, contents, keepMs, now, onEvent } = this.#options;
    const removed = this.#turns.run(entry.name, async () => {
      const share = await this.#read(entry);
      const overMs = entry.unsharedMs || entry.expireMs;
      // It was given more time, or removed, while this waited for its turn.
      if (!share || overMs === 0 || overMs + keepMs > now()) return;
      const remove = (change: Change): void => {
        change.remove(SHARE, share.id).removeRange(DOWNLOAD, prefixed(share.id));
      };
      if (share.unsharedMs > 0) {
        const change = new Change();
        remove(change);
        await store.commit(change);
      } else {
        await contents.dropShare(share.manifestSha256, remove, share.ownerNode);
        onEvent({ kind: 'share-over', share: formatShareId(share), why: 'expired' });
      }
      this.#index.remove(entry);
    });
    removed.catch(error => onEvent({ kind: 'sweep-failed', error }));
  }

  #nameOf(id: Buffer): string {
    return formatShareId({ org: this.#options.org, id });
  }
}

/** A row that is damaged is one that was there. */
async function isThere(store: Store, rowKey: Buffer): Promise<boolean> {
  try {
    return (await store.get(DOWNLOAD, rowKey)) !== undefined;
  } catch (error) {
    if (error instanceof FedgateError && error.reason === 'STORE_DAMAGED') return true;
    throw error;
  }
}
