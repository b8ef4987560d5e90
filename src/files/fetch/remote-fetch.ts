import { createHash } from 'node:crypto';
import { firstOf, pause } from '../abort.js';
import type { Contents } from '../content/types.js';
import { pieceLength } from '../manifest.js';
import type { Manifest, ShareFacts } from '../types.js';
import type { ContentFetch } from './content-fetch.js';
import type { ContentFetches } from './content-fetches.js';
import { evenPace } from './even-pace.js';
import type { LastingDownload } from './lasting-download.js';
import { type ByteRange, piecesOf, readRange } from './range.js';
import { reserveSpace } from './space.js';

/** A range of a share that is open to be read, once, by one node. */
export interface OpenFetch {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  /** Bytes of the range that the own gateway has already. */
  readonly cachedBytes: number;
  /** The bytes of the range in order, each chunk good until the next is asked for. Throws whatever ends it before. */
  chunks(): AsyncIterable<Buffer>;
  /** `complete`: all that was asked for was handed on. */
  close(complete: boolean): void;
}

export interface RemoteFetchParts {
  readonly contents: Pick<Contents, 'reserve'>;
  readonly fetches: ContentFetches;
  readonly range: ByteRange;
  /** Whether the reader hashes the whole itself. */
  readonly checksWhole: boolean;
  readonly onReceived: (bytes: number) => void;
}

/** How many pieces are asked for ahead of the one that is read. */
const AHEAD = 4;

/** A range of another organisation's share: its pieces are brought onto the own disk, verified, and read from there. */
export class RemoteFetch implements OpenFetch {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly cachedBytes: number;
  readonly #source: LastingDownload;
  readonly #content: ContentFetch;
  readonly #range: ByteRange;
  readonly #checksWhole: boolean;
  readonly #onReceived: (bytes: number) => void;
  readonly #leave: () => void;
  readonly #stop: { readonly signal: AbortSignal; stop(): void };
  readonly #ahead = new Map<number, Promise<void>>();
  #closed = false;

  /** Throws FILES_FULL, MANIFEST_INVALID. It closes `source`, then and later. */
  static async open(source: LastingDownload, parts: RemoteFetchParts, signal: AbortSignal): Promise<RemoteFetch> {
    let release: (() => void) | undefined;
    try {
      const taken = await parts.fetches.take(source.share, source.manifest);
      release = taken.release;
      const giveBack = await reserveSpace(taken.content, parts.range, parts.contents);
      const leave = (): void => {
        giveBack();
        taken.release();
      };
      return new RemoteFetch(source, taken.content, leave, parts, signal);
    } catch (error) {
      release?.();
      source.close(false);
      throw error;
    }
  }

  private constructor(
    source: LastingDownload,
    content: ContentFetch,
    leave: () => void,
    { range, checksWhole, onReceived }: RemoteFetchParts,
    signal: AbortSignal,
  ) {
    this.share = source.share;
    this.manifest = content.held.manifest;
    this.cachedBytes = content.held.bytesHeld(range.from, range.to - range.from);
    this.#source = source;
    this.#content = content;
    this.#range = range;
    this.#checksWhole = checksWhole;
    this.#onReceived = onReceived;
    this.#leave = leave;
    this.#stop = firstOf([signal, source.over]);
    if (!checksWhole) content.checkWhenWhole();
  }

  async *chunks(): AsyncGenerator<Buffer> {
    const { size } = this.manifest;
    const checksWhole = this.#checksWhole;
    const whole = this.#range.from === 0 && this.#range.to === size && !checksWhole && !this.#content.right;
    const over = whole || checksWhole ? this.#content.readInOrder() : undefined;
    const hash = createHash('sha256');
    let left = this.#range.to - this.#range.from;
    try {
      if (whole && left === 0) await this.#content.judge(hash.digest());
      for await (const chunk of readRange(this.#range, this.manifest, (index, offset) => this.#piece(index, offset))) {
        this.#check();
        left -= chunk.length;
        if (whole) hash.update(chunk);
        // The last bytes of what is not what it should be are kept back, so that nobody takes it for whole.
        if (whole && left === 0) await this.#content.judge(hash.digest());
        yield chunk;
      }
      this.#check();
    } finally {
      over?.(checksWhole && left === 0);
    }
  }

  close(complete: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    // That ends what is under way for this reader, before it stops listening.
    this.#source.close(complete);
    this.#stop.stop();
    this.#leave();
  }

  async *#piece(index: number, offset: number): AsyncGenerator<Buffer> {
    await this.#bring(index);
    this.#check();
    const { signal } = this.#stop;
    const { held, pieceMs } = this.#content;
    const waitMs = evenPace(pieceMs, pieceLength(this.manifest, index) - offset);
    let handedOn = 0;
    for await (const chunk of held.readPiece(index, offset, signal)) {
      yield chunk;
      handedOn += chunk.length;
      const ms = this.#isAhead(index) ? waitMs(handedOn) : 0;
      if (ms > 0) await pause(ms, signal);
    }
  }

  /** Whether the reader of a piece will have to wait for the next one. */
  #isAhead(index: number): boolean {
    const next = index + 1;
    return next < piecesOf(this.#range, this.manifest).to && !this.#content.held.has(next);
  }

  /** Resolves when a piece is there. Those behind it are on their way then, too. */
  #bring(index: number): Promise<void> {
    const { to } = piecesOf(this.#range, this.manifest);
    for (let next = index; next < Math.min(to, index + 1 + AHEAD); next++) {
      if (this.#ahead.has(next)) continue;
      const coming = this.#content.ensure(next, this.#source, this.#onReceived, this.#stop.signal);
      // Told when it is its turn.
      coming.catch(() => undefined);
      this.#ahead.set(next, coming);
    }
    const coming = this.#ahead.get(index) as Promise<void>;
    this.#ahead.delete(index);
    return coming;
  }

  #check(): void {
    this.#stop.signal.throwIfAborted();
    this.#content.throwIfBad();
  }
}
