import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { FedgateError } from '../../errors.js';
import { CHUNK_BYTES, CHUNK_HEADROOM, frameChunk } from '../../wire/file-frames.js';
import { throwIfGivenUp } from './patience.js';
import type { Committed, Source, SourceFrame } from './source.js';

/** How long bytes of a slow source may wait to fill a chunk, milliseconds: a gateway gives up on a silent upload. */
const LINGER_MS = 5_000;

/** Bytes that come once. What an earlier upload committed is compared as it passes, and left out. */
export class StreamSource implements Source {
  readonly repeatable = false;
  readonly size: number | undefined;
  readonly #source: AsyncIterable<unknown>;
  readonly #bytes: AsyncIterator<unknown>;
  /** Taken from the source and not used yet. */
  #rest: Buffer = Buffer.alloc(0);
  #position = 0;

  constructor(bytes: AsyncIterable<unknown>, size: number | undefined) {
    this.#source = bytes;
    this.#bytes = bytes[Symbol.asyncIterator]();
    this.size = size;
  }

  async compare({ committedSize, pieceSize, pieces }: Committed, signal?: AbortSignal): Promise<void> {
    for (let index = 0; index * pieceSize < committedSize; index++) {
      const hash = createHash('sha256');
      for (let left = Math.min(pieceSize, committedSize - index * pieceSize); left > 0; ) {
        throwIfGivenUp(signal);
        const part = await this.#take(left);
        if (!part) throw changed();
        hash.update(part);
        left -= part.length;
      }
      if (!hash.digest().equals(pieces.subarray(index * 32, index * 32 + 32))) throw changed();
    }
  }

  async compareWhole(sha256: string, signal?: AbortSignal): Promise<void> {
    const hash = createHash('sha256');
    for (let part = await this.#take(CHUNK_BYTES); part; part = await this.#take(CHUNK_BYTES)) {
      throwIfGivenUp(signal);
      hash.update(part);
    }
    if (hash.digest('hex') !== sha256) throw changed();
  }

  async *frames(offset: number): AsyncGenerator<SourceFrame> {
    if (offset !== this.#position) throw new FedgateError('INTERNAL', `${offset} is not where the stream is`);
    for (let chunk = await this.#fill(); chunk.length > CHUNK_HEADROOM; chunk = await this.#fill()) {
      const begin = this.#position - (chunk.length - CHUNK_HEADROOM);
      yield { frame: frameChunk(chunk, CHUNK_HEADROOM, chunk.length, begin), end: this.#position };
    }
  }

  async checkUnchanged(): Promise<void> {}

  /** Not waited for: it may be in the middle of a wait for bytes that never come. */
  async close(): Promise<void> {
    if (this.#source instanceof Readable) this.#source.destroy();
    else Promise.resolve(this.#bytes.return?.()).catch(() => undefined);
  }

  /** A chunk behind its headroom: full, or what came in a while, or the last. */
  async #fill(): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(CHUNK_HEADROOM + CHUNK_BYTES);
    let end = CHUNK_HEADROOM;
    const dueMs = performance.now() + LINGER_MS;
    while (end < buffer.length && (end === CHUNK_HEADROOM || performance.now() < dueMs)) {
      const part = await this.#take(buffer.length - end);
      if (!part) break;
      part.copy(buffer, end);
      end += part.length;
    }
    return buffer.subarray(0, end);
  }

  /** The next bytes, at most so many. Undefined: that was all. */
  async #take(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#bytes.next();
      if (done) return undefined;
      this.#rest = toBuffer(value);
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    this.#position += part.length;
    return part;
  }
}

function toBuffer(value: unknown): Buffer {
  if (typeof value === 'string') return Buffer.from(value);
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length);
  throw new FedgateError('FIELD_INVALID', 'source: a stream of something else than bytes cannot be shared');
}

const changed = (): FedgateError =>
  new FedgateError('FILE_CHANGED', 'the source is not what the upload began with; nothing was shared');
