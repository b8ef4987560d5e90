import { randomBytes } from 'node:crypto';
import { describe, FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import type { Contents } from '../content/types.js';
import { formatShareId, type ShareRef } from '../share-id.js';
import type { Transfer, Transfers } from '../transfers.js';
import type { Download, DownloadRequest, Manifest, RemoteShares, ShareFacts, ShareHolder } from '../types.js';
import type { OnBadContent } from './content-fetch.js';
import { ContentFetches } from './content-fetches.js';
import { LastingDownload } from './lasting-download.js';
import { rangeOf, readRange } from './range.js';
import { type OpenFetch, RemoteFetch } from './remote-fetch.js';

export interface FetcherOptions {
  readonly org: OrgName;
  readonly holder: ShareHolder;
  readonly remote: RemoteShares;
  readonly contents: Pick<Contents, 'holdRemote' | 'reserve'>;
  readonly transfers: Transfers;
  readonly now: () => number;
  /** Hears of what another organisation sent that is not what it should be. */
  readonly onBad: OnBadContent;
  /** How long nothing may come from another gateway before a fetch fails, milliseconds. @default 60,000 */
  readonly patienceMs?: number;
}

export interface FetchWanted {
  readonly offset: number;
  /** 0: to the end. */
  readonly length: number;
  /** 16 bytes. */
  readonly downloadId: Buffer;
  /** Whoever asks hashes the whole itself. @default false */
  readonly checksWhole?: boolean;
}

/** Without a byte for so long, a transfer is over. */
const PATIENCE_MS = 60_000;
/** Fetches of one node that are open at once. */
const MAX_OPEN_PER_NODE = 250;

/** Fetches for nodes of the own organisation: from the own shares, or from others' through a link. */
export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #fetches: ContentFetches;
  readonly #open = new Map<string, number>();

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#fetches = new ContentFetches(options.contents, options.onBad);
  }

  /** What a share is. Rejects as ShareHolder.open and RemoteShares.open. */
  async look(node: string, ref: ShareRef, signal: AbortSignal): Promise<{ share: ShareFacts; manifest: Manifest }> {
    const request = { shareId: ref.id, downloadId: randomBytes(16), look: true };
    const { share, manifest, close } = await this.#look(node, ref, request, signal);
    close();
    return { share, manifest };
  }

  /** Opens a range of a share. Rejects as `look`, and with OFFSET_INVALID, FILES_FULL, LIMIT_REACHED. Whoever opened it closes it. */
  async fetch(node: string, ref: ShareRef, wanted: FetchWanted, signal: AbortSignal): Promise<OpenFetch> {
    const leave = this.#enter(node);
    try {
      const { transfers, org } = this.#options;
      const request = { shareId: ref.id, downloadId: wanted.downloadId, look: false };
      const fetched =
        ref.org === org ? this.#own(node, wanted, request, signal) : this.#remote(node, ref, wanted, request, signal);
      const { fetch, total, listen } = await fetched;
      const shareId = formatShareId(ref);
      const { name } = fetch.share;
      const transfer = transfers.begin({ kind: 'fetch', shareId, name, org: ref.org, node, totalBytes: total });
      listen(bytes => transfer.received(bytes));
      return new TrackedFetch(fetch, transfer, leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#fetches.close();
  }

  async #look(node: string, { org }: ShareRef, request: DownloadRequest, signal: AbortSignal) {
    const { holder, remote, org: ownOrg } = this.#options;
    const opening =
      org === ownOrg ? holder.open({ org, node }, request, signal) : remote.open(org, node, request, signal);
    const download = await opening;
    return { share: download.share, manifest: download.manifest, close: () => download.close(true) };
  }

  async #own(node: string, wanted: FetchWanted, request: DownloadRequest, signal: AbortSignal) {
    const { holder, org } = this.#options;
    const download = await holder.open({ org, node }, request, signal);
    try {
      const { from, to } = rangeOf(wanted.offset, wanted.length, download.manifest.size);
      const fetch = new OwnFetch(download, from, to, signal);
      return { fetch, total: to - from, listen: () => undefined };
    } catch (error) {
      download.close(false);
      throw error;
    }
  }

  async #remote(
    node: string,
    { org }: ShareRef,
    { offset, length, checksWhole = false }: FetchWanted,
    request: DownloadRequest,
    signal: AbortSignal,
  ) {
    const { remote, contents, now, patienceMs = PATIENCE_MS } = this.#options;
    const source = await LastingDownload.open({ remote, patienceMs, now }, org, node, request, signal);
    let hear: (bytes: number) => void = () => undefined;
    const listen = (listener: (bytes: number) => void): void => {
      hear = listener;
    };
    try {
      const range = rangeOf(offset, length, source.manifest.size);
      const onReceived = (bytes: number): void => hear(bytes);
      const opening = RemoteFetch.open(
        source,
        { contents, fetches: this.#fetches, range, checksWhole, onReceived },
        signal,
      );
      const fetch = await opening;
      return { fetch, total: range.to - range.from, listen };
    } catch (error) {
      source.close(false);
      throw error;
    }
  }

  #enter(node: string): () => void {
    const open = this.#open.get(node) ?? 0;
    if (open >= MAX_OPEN_PER_NODE) {
      throw new FedgateError('LIMIT_REACHED', `node ${node} has ${open} fetches open`, {
        metadata: { limit: 'fetches per node' },
        retryAfterMs: 1_000,
      });
    }
    this.#open.set(node, open + 1);
    return () => {
      const left = (this.#open.get(node) ?? 1) - 1;
      if (left > 0) this.#open.set(node, left);
      else this.#open.delete(node);
    };
  }
}

/** A range of a share of the own organisation. */
class OwnFetch implements OpenFetch {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly cachedBytes: number;
  readonly #download: Download;
  readonly #from: number;
  readonly #to: number;
  readonly #signal: AbortSignal;

  constructor(download: Download, from: number, to: number, signal: AbortSignal) {
    this.share = download.share;
    this.manifest = download.manifest;
    this.cachedBytes = to - from;
    this.#download = download;
    this.#from = from;
    this.#to = to;
    this.#signal = signal;
  }

  chunks(): AsyncIterable<Buffer> {
    return readRange({ from: this.#from, to: this.#to }, this.manifest, (index, offset) =>
      this.#download.readPiece(index, offset, this.#signal),
    );
  }

  close(complete: boolean): void {
    this.#download.close(complete);
  }
}

/** Tells whoever watches what becomes of a fetch. */
class TrackedFetch implements OpenFetch {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly cachedBytes: number;
  readonly #fetch: OpenFetch;
  readonly #transfer: Transfer;
  readonly #leave: () => void;
  #closed = false;
  #failure = 'left';

  constructor(fetch: OpenFetch, transfer: Transfer, leave: () => void) {
    this.share = fetch.share;
    this.manifest = fetch.manifest;
    this.cachedBytes = fetch.cachedBytes;
    this.#fetch = fetch;
    this.#transfer = transfer;
    this.#leave = leave;
  }

  async *chunks(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of this.#fetch.chunks()) {
        yield chunk;
        this.#transfer.done(chunk.length);
      }
    } catch (error) {
      this.#failure = describe(error);
      throw error;
    }
  }

  close(complete: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#fetch.close(complete);
    this.#leave();
    this.#transfer.end(complete ? undefined : this.#failure);
  }
}
