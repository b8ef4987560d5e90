import { FedgateError } from '../errors.js';
import { Fifo } from '../fifo.js';
import type { Download } from '../files/types.js';
import type { FileChunk } from '../wire/piece-frames.js';
import { asError, CHUNK_BYTES, type FilesTiming, lengthOfPiece, MAX_WANTS, Progress, stalled } from './files-terms.js';

export interface ServingHost {
  /** It may have a chunk to send. */
  wake(serving: Serving): void;
  /** It is over: the asker is to be told. */
  ended(serving: Serving, error: FedgateError): void;
  now(): number;
}

interface Want {
  readonly piece: number;
  readonly offset: number;
}

/** One download that is served: what is wanted of it is read in the order in which it was asked for, as far as the credit goes. */
export class Serving {
  readonly session: number;
  readonly download: Download;
  readonly #look: boolean;
  readonly #host: ServingHost;
  readonly #over = new AbortController();
  readonly #wants = new Fifo<Want>();
  readonly #wanted = new Set<number>();
  /** What was read and not wholly sent yet. It is good as long as nothing more is read. */
  #ready: FileChunk | undefined;
  readonly #progress: Progress;
  readonly #onEnded: () => void;
  #readBytes = 0;
  #sentBytes = 0;
  #creditBytes = 0;
  #reading = false;
  #resume: (() => void) | undefined;
  /** Whether the asker was told that it is open. */
  announced = false;
  /** Whether it waits for its turn. */
  queued = false;

  constructor(session: number, download: Download, look: boolean, host: ServingHost) {
    this.session = session;
    this.download = download;
    this.#look = look;
    this.#host = host;
    this.#progress = new Progress(host.now());
    this.#onEnded = () => this.end(asError(download.ended.reason));
    if (download.ended.aborted) queueMicrotask(this.#onEnded);
    else download.ended.addEventListener('abort', this.#onEnded, { once: true });
  }

  get over(): boolean {
    return this.#over.signal.aborted;
  }

  /** Throws FRAME_UNEXPECTED for what an honest asker never sends. A want that cannot be met ends the session. */
  want({ piece, offset }: Want): void {
    if (!this.announced || this.#look || this.#wanted.has(piece))
      throw new FedgateError('FRAME_UNEXPECTED', `piece ${piece} may not be wanted now`);
    const { manifest } = this.download;
    if (offset >= lengthOfPiece(manifest, piece)) {
      const metadata = { size: String(manifest.size) };
      return this.end(new FedgateError('OFFSET_INVALID', `there is no byte ${offset} in piece ${piece}`, { metadata }));
    }
    if (this.#wanted.size >= MAX_WANTS) {
      const metadata = { limit: 'wanted pieces' };
      return this.end(
        new FedgateError('LIMIT_REACHED', `more than ${MAX_WANTS} pieces are wanted at a time`, { metadata }),
      );
    }
    if (this.#wanted.size === 0) this.#progress.restart(this.#host.now());
    this.#wanted.add(piece);
    this.#wants.push({ piece, offset });
    void this.#read();
  }

  /** Throws FRAME_UNEXPECTED for credit that is taken back. */
  credit(bytes: bigint): void {
    const granted = Number(bytes);
    if (!this.announced || granted < this.#creditBytes)
      throw new FedgateError('FRAME_UNEXPECTED', 'the credit of a session falls');
    this.#creditBytes = granted;
    this.#continue();
    this.#host.wake(this);
  }

  /** Whether a chunk may be sent now. */
  get sendable(): boolean {
    return !this.over && this.#ready !== undefined && this.#creditBytes > this.#sentBytes;
  }

  /** The next chunk, or as much of it as there is credit for. */
  take(): FileChunk | undefined {
    const chunk = this.#ready;
    if (!chunk || !this.sendable) return undefined;
    const allowed = this.#creditBytes - this.#sentBytes;
    const { offset, data } = chunk;
    const whole = data.length <= allowed;
    this.#ready = whole ? undefined : { ...chunk, offset: offset + allowed, data: data.subarray(allowed) };
    return this.#sent(whole ? chunk : { ...chunk, data: data.subarray(0, allowed) });
  }

  /** Ends it when nothing moves that should, or when nothing was wanted for long. */
  check({ stallMs, idleMs }: FilesTiming): void {
    const lacking = this.#progress.lacking(this.#host.now());
    const busy = this.#wanted.size > 0 || !this.announced;
    if (busy && lacking > stallMs) this.end(stalled(`nothing was taken for ${stallMs / 1000} s`));
    else if (!busy && lacking > idleMs) this.end(stalled(`nothing was wanted for ${idleMs / 1000} s`));
  }

  end(error: FedgateError): void {
    if (this.over) return;
    this.close(false);
    this.#host.ended(this, error);
  }

  /** Ends it without a word. */
  close(complete: boolean): void {
    if (this.over) return;
    this.download.ended.removeEventListener('abort', this.#onEnded);
    this.#over.abort(new FedgateError('CANCELLED', 'the session is over'));
    this.#ready = undefined;
    this.#wants.drain();
    this.#continue();
    this.download.close(complete);
  }

  #sent(chunk: FileChunk): FileChunk {
    const { piece, offset, data } = chunk;
    const nowMs = this.#host.now();
    this.#sentBytes += data.length;
    this.#progress.moved(data.length, nowMs);
    if (offset + data.length === lengthOfPiece(this.download.manifest, piece)) {
      this.#wanted.delete(piece);
      this.#progress.restart(nowMs);
    }
    this.#continue();
    return chunk;
  }

  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      for (let want = this.#wants.shift(); want; want = this.#wants.shift()) await this.#readPiece(want);
    } catch (error) {
      this.end(asError(error));
    } finally {
      this.#reading = false;
    }
  }

  async #readPiece({ piece, offset }: Want): Promise<void> {
    const { session, download } = this;
    const end = lengthOfPiece(download.manifest, piece);
    let at = offset;
    await this.#credited();
    if (this.over) return;
    for await (const bytes of download.readPiece(piece, offset, this.#over.signal)) {
      if (at + bytes.length > end) throw new FedgateError('FILE_DAMAGED', `piece ${piece} is longer than it should be`);
      for (let from = 0; from < bytes.length; from += CHUNK_BYTES) {
        const data = bytes.subarray(from, from + CHUNK_BYTES);
        this.#ready = { session, piece, offset: at, data };
        at += data.length;
        this.#readBytes += data.length;
        this.#host.wake(this);
        await this.#until(() => this.#ready === undefined);
        if (this.over) return;
      }
      if (at < end) await this.#credited();
      if (this.over) return;
    }
    if (at < end && !this.over) throw new FedgateError('FILE_DAMAGED', `piece ${piece} is shorter than it should be`);
  }

  /** Nothing is read for an asker that cannot take it. */
  #credited(): Promise<void> {
    return this.#until(() => this.#readBytes < this.#creditBytes);
  }

  /** Until something is so, or it is over. */
  async #until(so: () => boolean): Promise<void> {
    while (!this.over && !so()) {
      await new Promise<void>(resolve => {
        this.#resume = resolve;
      });
    }
  }

  #continue(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }
}
