import type { OrgName } from '../../identity/names.js';
import type { Change, Store } from '../../store/store.js';
import { manifestDigest } from '../manifest.js';
import type { Manifest } from '../types.js';
import { Held, loadContent } from './held-content.js';
import type { IndexView } from './index-view.js';
import { entryOf } from './ledger.js';
import { contentBad, noneHeld, type OpenedContent } from './opened-contents.js';
import { closed, freeBytes, type Parts } from './parts.js';
import { removable, removeContent } from './removal.js';
import { type ContentRow, remoteKey, sharesOf } from './rows.js';
import { type ScrubOptions, type ScrubProgress, scrub } from './scrubber.js';
import type { Sweeper, Swept } from './sweeper.js';
import type { Contents, HeldContent, Reservation, Upload, UploadStart } from './types.js';
import type { Uploads } from './uploads.js';

export interface ContentStoreParts {
  readonly parts: Parts;
  readonly store: Store;
  readonly uploads: Uploads;
  readonly sweeper: Sweeper;
  readonly closing: AbortController;
  /** Stops what runs by the clock. */
  readonly stop: () => Promise<void>;
}

/** What is counted against the quotas, and unfinished uploads. */
export interface ContentUsage {
  readonly sharedBytes: number;
  readonly cachedBytes: number;
  readonly uploads: number;
}

/** The content store of a gateway. */
export class ContentStore implements Contents {
  readonly #own: ContentStoreParts;
  readonly #parts: Parts;
  #closed: Promise<void> | undefined;

  constructor(own: ContentStoreParts) {
    this.#own = own;
    this.#parts = own.parts;
  }

  usage(): ContentUsage {
    const { sharedBytes, cachedBytes, uploads } = this.#parts.ledger;
    return { sharedBytes, cachedBytes, uploads: uploads.size };
  }

  upload(start: UploadStart): Promise<Upload> {
    return this.#own.uploads.open(start);
  }

  findUpload(owner: string, uploadId: Buffer) {
    return this.#own.uploads.find(owner, uploadId);
  }

  cancelUpload(owner: string, uploadId: Buffer): Promise<void> {
    return this.#own.uploads.cancel(owner, uploadId);
  }

  hold(id: Buffer): Promise<HeldContent | undefined> {
    return this.#hold(id, view => loadContent(view, id));
  }

  async holdRemote(manifest: Manifest, org: OrgName): Promise<HeldContent> {
    const id = remoteKey(org, manifestDigest(manifest));
    const held = await this.#hold(
      id,
      async view => (await loadContent(view, id, org)) ?? this.#create(view, id, manifest, org),
    );
    if (!held) throw contentBad(id);
    return held;
  }

  async dropShare(id: Buffer, also: (change: Change) => void, owner?: string): Promise<void> {
    const { pieces, ledger, now } = this.#parts;
    await pieces.index.change(async view => {
      view.also(also);
      const row = await view.content(id);
      if (!row) return;
      const left: ContentRow = { ...row, usedMs: now(), owners: withoutShare(row, owner) };
      view.putContent(id, left);
      view.after(() => {
        const name = id.toString('hex');
        const heldBytes = ledger.contents.get(name)?.heldBytes ?? 0;
        ledger.setContent(name, { ...entryOf(left, 0), heldBytes });
      });
    });
  }

  async reserve(bytes: number): Promise<Reservation> {
    const { ledger } = this.#parts;
    let free = await freeBytes(this.#parts);
    for (const { id } of this.#fits(bytes, free) ? [] : removable(this.#parts)) {
      if (!(await removeContent(this.#parts, id))) continue;
      await this.#parts.pieces.idle();
      free = await freeBytes(this.#parts);
      if (this.#fits(bytes, free)) break;
    }
    return { release: ledger.reserveCache(bytes, free) };
  }

  /** Removes what is not needed any more. It does so by itself now and then. */
  sweep(): Promise<Swept> {
    return this.#own.sweeper.sweep(true);
  }

  /** Reads every piece at a gentle pace, and takes out those that are not what was written. */
  scrub(options: ScrubOptions): Promise<ScrubProgress> {
    const signal = AbortSignal.any([options.signal, this.#parts.closing]);
    return scrub(this.#parts, this.#own.store, { ...options, signal });
  }

  /** Ends all uploads, and resolves when the store is not used any more. The store itself is closed by its owner, after this. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#own.closing.abort(closed());
    await this.#own.stop();
    await this.#own.uploads.close();
    await this.#parts.pieces.idle();
  }

  /** Takes hold of what a step finds. It is pinned before, so that nobody removes it meanwhile. */
  async #hold(
    id: Buffer,
    find: (view: IndexView) => Promise<OpenedContent | undefined>,
  ): Promise<HeldContent | undefined> {
    const { opened, pieces, closing } = this.#parts;
    if (closing.aborted) throw closed();
    opened.pin(id);
    try {
      const known = opened.get(id);
      if (known?.bad) throw contentBad(id);
      if (known) return new Held(this.#parts, known);
      await pieces.index.change(async view => {
        const found = await find(view);
        if (found) view.after(() => opened.put(found));
      });
      const found = opened.get(id);
      if (found) return new Held(this.#parts, found);
    } catch (error) {
      opened.unpin(id);
      throw error;
    }
    opened.unpin(id);
    return undefined;
  }

  #create(view: IndexView, id: Buffer, manifest: Manifest, org: OrgName): OpenedContent {
    const { ledger, now } = this.#parts;
    const row: ContentRow = { manifest, verified: false, usedMs: now(), owners: new Map() };
    const held = noneHeld(manifest);
    view.putContent(id, row);
    view.putHeld(id, held);
    view.after(() => ledger.setContent(id.toString('hex'), entryOf(row, 0)));
    return { id, org, manifest, held, verified: false, bad: false };
  }

  #fits(bytes: number, free: number): boolean {
    const { ledger } = this.#parts;
    return ledger.cacheExcess(bytes) <= 0 && ledger.diskExcess(bytes, free) <= 0;
  }
}

/** One share less: of the owner, or of the first when it is not said whose. */
function withoutShare(row: ContentRow, owner: string | undefined): ReadonlyMap<string, number> {
  const owners = new Map(row.owners);
  if (sharesOf(row) === 0) return owners;
  const whose = owner !== undefined && owners.has(owner) ? owner : [...owners.keys()][0];
  if (whose === undefined) return owners;
  const left = (owners.get(whose) ?? 1) - 1;
  if (left > 0) owners.set(whose, left);
  else owners.delete(whose);
  return owners;
}
