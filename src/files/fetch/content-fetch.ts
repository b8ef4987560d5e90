import { createHash } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { unlessAborted } from '../abort.js';
import type { HeldContent } from '../content/types.js';
import type { LastingDownload } from './lasting-download.js';

/** What goes wrong with what another organisation sends. `final`: the fetch ended with it. */
export type OnBadContent = (error: FedgateError, org: OrgName, final: boolean) => void;

/** How often a piece that was not what the manifest says is asked for again. */
const MAX_REPEATS = 3;

/** One content of another organisation on its way to the disk, for all that read it at the moment: no piece is asked for by two of them. */
export class ContentFetch {
  readonly held: HeldContent;
  readonly #org: OrgName;
  readonly #onBad: OnBadContent;
  readonly #receiving = new Map<number, Promise<void>>();
  /** Pieces whose space somebody has reserved, and what gives that back once they are stored. */
  readonly promised = new Map<number, () => void>();
  readonly #stop = new AbortController();
  #inOrder = 0;
  #pieceMs: number | undefined;
  #right: boolean;
  #bad: FedgateError | undefined;
  #checking: Promise<void> | undefined;

  /** `org`: whose share it is, to be named when it is not what it should be. */
  constructor(held: HeldContent, org: OrgName, onBad: OnBadContent) {
    this.held = held;
    this.#org = org;
    this.#onBad = onBad;
    this.#right = held.verified;
  }

  /** Whether its whole-file digest was found right. */
  get right(): boolean {
    return this.#right;
  }

  /** How long the last piece took to come, from its first bytes to its last, milliseconds. Undefined: none came. */
  get pieceMs(): number | undefined {
    return this.#pieceMs;
  }

  /** Throws MANIFEST_INVALID when its whole-file digest was found wrong. */
  throwIfBad(): void {
    if (this.#bad) throw this.#bad;
  }

  /** Resolves when a piece is on the disk. `onReceived` hears of bytes that came through this source. */
  async ensure(
    index: number,
    source: LastingDownload,
    onReceived: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    while (!this.held.has(index)) {
      signal.throwIfAborted();
      const others = this.#receiving.get(index);
      if (others !== undefined) {
        // Whoever brings it may leave before it is whole; then it is our turn.
        await unlessAborted(
          others.catch(() => undefined),
          signal,
        );
        continue;
      }
      const own = this.#receive(index, source, onReceived, signal);
      this.#receiving.set(index, own);
      await own.finally(() => this.#receiving.delete(index));
      this.promised.get(index)?.();
      this.promised.delete(index);
      this.checkWhenWhole();
    }
  }

  /**
   * A reader by whom the whole is hashed as it is read, here or by the program that it reads for. While there is one, nobody else has to. Returns
   * the end of that; `elsewhere`: all of it was read, and the program judges it.
   */
  readInOrder(): (elsewhere: boolean) => void {
    this.#inOrder++;
    return elsewhere => {
      this.#inOrder--;
      if (!elsewhere) this.checkWhenWhole();
    };
  }

  /** What the whole-file digest was found to be. Rejects with MANIFEST_INVALID when it is wrong. */
  async judge(sha256: Buffer): Promise<void> {
    if (this.#right) return;
    this.throwIfBad();
    if (sha256.equals(this.held.manifest.sha256)) {
      this.#right = true;
      await this.held.judge(true);
      return;
    }
    const org = this.#org;
    this.#bad = new FedgateError(
      'MANIFEST_INVALID',
      `a file of ${org} is not what its digest says, although its pieces are`,
      {
        metadata: { org },
      },
    );
    this.#onBad(this.#bad, org, true);
    await this.held.judge(false);
    throw this.#bad;
  }

  /** Resolves when it is neither received nor read back. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#receiving.values(), this.#checking]);
  }

  stop(): void {
    this.#stop.abort(new FedgateError('CANCELLED', 'nobody wants to know any more'));
  }

  async #receive(
    index: number,
    source: LastingDownload,
    onReceived: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    for (let repeats = 0; ; repeats++) {
      const writer = await this.held.receive(index);
      if (!writer) return;
      try {
        let fromMs: number | undefined;
        for await (const chunk of source.read(index, signal)) {
          fromMs ??= performance.now();
          await writer.write(chunk);
          onReceived(chunk.length);
        }
        if (fromMs !== undefined) this.#pieceMs = performance.now() - fromMs;
        await writer.finish();
        return;
      } catch (error) {
        await writer.abandon();
        if (!isMismatch(error)) throw error;
        const final = repeats === MAX_REPEATS;
        this.#onBad(error, source.share.org, final);
        if (final) throw error;
      }
    }
  }

  /** Reads the whole back when all of it is there and nobody has looked, or is about to. */
  checkWhenWhole(): void {
    const { held } = this;
    if (this.#right || this.#bad || this.#checking || this.#inOrder > 0 || this.#stop.signal.aborted) return;
    const { size } = held.manifest;
    if (held.bytesHeld(0, size) < size) return;
    this.#checking = this.#readBack()
      // A piece that went bad is out of the index by now, and fetched again by whoever wants it.
      .catch(() => undefined)
      .finally(() => {
        this.#checking = undefined;
      });
  }

  async #readBack(): Promise<void> {
    const hash = createHash('sha256');
    const { size, pieceSize } = this.held.manifest;
    for (let index = 0; index * pieceSize < size; index++) {
      for await (const chunk of this.held.readPiece(index, 0, this.#stop.signal)) hash.update(chunk);
    }
    await this.judge(hash.digest());
  }
}

const isMismatch = (error: unknown): error is FedgateError =>
  error instanceof FedgateError && error.reason === 'PIECE_MISMATCH';
