import { FedgateError } from '../errors.js';
import { Fifo } from '../fifo.js';
import type { Download, Manifest, ShareFacts } from '../files/types.js';
import type { FileChunk } from '../wire/piece-frames.js';
import type { CreditPool, CreditUser } from './files-credit.js';
import { asCancelled, type FilesTiming, lengthOfPiece, MAX_WANTS, Progress, stalled } from './files-terms.js';
import type { Lane } from './lane.js';

export interface DownloadHost {
  readonly lane: Lane;
  readonly pool: CreditPool;
  /** It is over here: nothing more is wanted of the holder. `late`: bytes that may still come. */
  closed(download: LinkDownload, complete: boolean, late: number): void;
  now(): number;
}

export interface DownloadFacts {
  readonly session: number;
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly look: boolean;
}

/** A piece that was asked for and has not wholly come, or not wholly been read. */
interface Want {
  readonly piece: number;
  readonly end: number;
  readonly chunks: Fifo<Buffer>;
  /** Where the next byte that comes belongs. */
  next: number;
  /** Nobody reads it any more. */
  left: boolean;
}

/** Chunks that may wait for a reader: with honest chunks the window is full long before. Each costs something beside its bytes. */
const MAX_UNREAD_CHUNKS = 4096;

/** From so many chunks of a session on they must have so much on average: smaller ones cost more than they bring, and ours have 256 KiB. */
const WARM_UP_CHUNKS = 1_024;
const MIN_CHUNK_BYTES = 1_024;

const unexpected = (what: string): FedgateError => new FedgateError('FRAME_UNEXPECTED', what);

/** A download of another organisation's share, through the files lane. */
export class LinkDownload implements Download, CreditUser {
  readonly session: number;
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly #look: boolean;
  readonly #host: DownloadHost;
  readonly #ended = new AbortController();
  readonly #progress: Progress;
  /** Those that have not wholly come. */
  readonly #coming = new Map<number, Want>();
  readonly #readers = new Set<() => void>();
  #over: FedgateError | undefined;
  #wantedBytes = 0;
  #grantedBytes = 0;
  #receivedBytes = 0;
  #takenBytes = 0;
  #chunks = 0;
  #unreadChunks = 0;

  constructor({ session, share, manifest, look }: DownloadFacts, host: DownloadHost) {
    this.session = session;
    this.share = share;
    this.manifest = manifest;
    this.#look = look;
    this.#host = host;
    this.#progress = new Progress(host.now());
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  get uncovered(): number {
    return this.#wantedBytes - this.#grantedBytes;
  }

  get held(): number {
    return this.#grantedBytes - this.#takenBytes;
  }

  grant(bytes: number): void {
    if (this.#grantedBytes === this.#receivedBytes) this.#progress.restart(this.#host.now());
    this.#grantedBytes += bytes;
    const value = { session: this.session, bytes: BigInt(this.#grantedBytes) };
    this.#host.lane.put({ $case: 'fileCredit', value });
  }

  /** As Download says. Several pieces may be read at a time, also a piece twice: the second reading then waits for the end of the first. */
  async *readPiece(index: number, offset: number, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    const end = lengthOfPiece(this.manifest, index);
    if (offset > end || end === 0)
      throw new FedgateError('OFFSET_INVALID', `there is no byte ${offset} in piece ${index}`);
    const wake = (): void => this.#wakeReaders();
    signal.addEventListener('abort', wake, { once: true });
    let want: Want | undefined;
    let handed = 0;
    try {
      want = await this.#want(index, offset, end, signal);
      for (;;) {
        this.#check(signal);
        const chunk = want.chunks.shift();
        if (chunk) {
          this.#unreadChunks--;
          handed = chunk.length;
          yield chunk;
          handed = 0;
          this.#take(chunk.length);
        } else if (want.next === want.end) return;
        else await this.#woken();
      }
    } finally {
      signal.removeEventListener('abort', wake);
      if (want) this.#leave(want, handed);
    }
  }

  /** Throws FRAME_UNEXPECTED, CREDIT_EXCEEDED: the peer broke the rules, and the lane is to end. */
  receive({ piece, offset, data }: FileChunk): void {
    const want = this.#coming.get(piece);
    if (!want) throw unexpected(`bytes of piece ${piece}, which is not wanted`);
    if (offset !== want.next || offset + data.length > want.end)
      throw unexpected(`bytes of piece ${piece} from ${offset} on, not from ${want.next} to ${want.end}`);
    this.#receivedBytes += data.length;
    if (this.#receivedBytes > this.#grantedBytes)
      throw new FedgateError('CREDIT_EXCEEDED', `session ${this.session} was sent more than there was credit for`);
    if (++this.#chunks > WARM_UP_CHUNKS && this.#receivedBytes < this.#chunks * MIN_CHUNK_BYTES)
      throw unexpected('the chunks of a file are too small');
    want.next += data.length;
    this.#progress.moved(data.length, this.#host.now());
    if (want.next === want.end) this.#whole(want);
    if (want.left) this.#take(data.length);
    else {
      if (++this.#unreadChunks > MAX_UNREAD_CHUNKS) throw unexpected('the chunks of a file are too small');
      want.chunks.push(data);
    }
    this.#wakeReaders();
  }

  /** Ends it when the holder could send and does not. A reader that does not read is not its fault. */
  check({ stallMs }: FilesTiming): void {
    const waits = this.#grantedBytes > this.#receivedBytes && this.#unreadChunks === 0;
    if (!waits) this.#progress.restart(this.#host.now());
    else if (this.#progress.lacking(this.#host.now()) > stallMs) {
      const late = this.#grantedBytes - this.#receivedBytes;
      this.end(stalled(`${this.share.org} sent nothing for ${stallMs / 1000} s`));
      this.#host.closed(this, false, late);
    }
  }

  /** The holder ended it, or there is no way to it any more. */
  end(reason: FedgateError): void {
    if (this.#over) return;
    this.#finish(reason);
    this.#ended.abort(reason);
  }

  close(complete: boolean): void {
    if (this.#over) return;
    const late = this.#grantedBytes - this.#receivedBytes;
    this.#finish(new FedgateError('CANCELLED', 'the download was closed'));
    this.#host.closed(this, complete, late);
  }

  #finish(reason: FedgateError): void {
    this.#over = reason;
    this.#host.pool.remove(this);
    this.#coming.clear();
    this.#wakeReaders();
  }

  #check(signal: AbortSignal): void {
    if (this.#over) throw this.#over;
    if (signal.aborted) throw asCancelled(signal.reason);
  }

  /** Asks for the piece, once it is not being sent already and few enough are. */
  async #want(piece: number, offset: number, end: number, signal: AbortSignal): Promise<Want> {
    this.#check(signal);
    if (this.#look) throw new FedgateError('FRAME_UNEXPECTED', 'this download is there to be looked at only');
    while (this.#coming.has(piece) || this.#coming.size >= MAX_WANTS) {
      await this.#woken();
      this.#check(signal);
    }
    const want = { piece, end, chunks: new Fifo<Buffer>(), next: offset, left: false };
    if (offset === end) return want;
    this.#coming.set(piece, want);
    this.#host.lane.put({ $case: 'fileWant', value: { session: this.session, piece, offset } });
    this.#wantedBytes += end - offset;
    this.#host.pool.want(this);
    return want;
  }

  #whole({ piece }: Want): void {
    this.#coming.delete(piece);
    this.#progress.restart(this.#host.now());
  }

  /** What comes of it from now on is dropped, and what came and was not read too. */
  #leave(want: Want, handed: number): void {
    if (want.left) return;
    want.left = true;
    const unread = want.chunks.drain();
    this.#unreadChunks -= unread.length;
    this.#take(unread.reduce((sum, { length }) => sum + length, handed));
  }

  #take(bytes: number): void {
    if (bytes === 0 || this.#over) return;
    this.#takenBytes += bytes;
    this.#host.pool.release(this, bytes);
  }

  #woken(): Promise<void> {
    return new Promise(resolve => this.#readers.add(resolve));
  }

  #wakeReaders(): void {
    const readers = [...this.#readers];
    this.#readers.clear();
    for (const wake of readers) wake();
  }
}
