import { Fifo } from '../../fifo.js';
import { BLOCK_BYTES, type BlockPool, readBlocks } from './blocks.js';
import type { OpenFile } from './open-file.js';

export interface BlocksToRead {
  /** A multiple of ALIGNED_BYTES. */
  readonly from: number;
  readonly to: number;
  /** Whether past the page cache, where that is possible. */
  readonly past: boolean;
}

interface Read {
  readonly block: Buffer;
  readonly bytes: number;
}

const NOTHING = Buffer.alloc(0);

/** Blocks that are read ahead at most: a disk that others use too answers late. Each takes one of the few threads that Node has for the disk. */
const AHEAD = 2;

/** Reads a part of a file block by block, some ahead of the one that is wanted: fewer when there are few to be had. */
export class BlockReader {
  readonly #file: OpenFile;
  readonly #past: boolean;
  readonly #to: number;
  readonly #pool: BlockPool;
  /** In order. */
  readonly #reading = new Fifo<Promise<Read>>();
  /** Where the next block begins that is to be asked for. */
  #at: number;
  #current: Buffer | undefined;
  #closed = false;

  constructor(file: OpenFile, { from, to, past }: BlocksToRead, pool: BlockPool = readBlocks) {
    this.#file = file;
    this.#past = past;
    this.#at = from;
    this.#to = to;
    this.#pool = pool;
  }

  /** The bytes behind those before, a block or up to the end; none when the file ends before it. Good until the next call. Throws what the operating system says. */
  async next(): Promise<Buffer> {
    this.#release();
    if (this.#reading.length === 0 && this.#at < this.#to) this.#ask();
    const read = await this.#reading.shift();
    if (!read) return NOTHING;
    if (this.#closed) this.#pool.give(read.block);
    else this.#current = read.block;
    while (this.#reading.length < this.#ahead && this.#at < this.#to) this.#ask();
    return read.block.subarray(0, read.bytes);
  }

  /** Does not wait for what is under way. */
  close(): void {
    this.#closed = true;
    this.#at = this.#to;
    this.#release();
    for (const reading of this.#reading.drain())
      reading.then(({ block }) => this.#pool.give(block)).catch(() => undefined);
  }

  get #ahead(): number {
    const { scarce, plenty } = this.#pool;
    return plenty ? AHEAD : scarce ? 0 : 1;
  }

  #release(): void {
    if (this.#current) this.#pool.give(this.#current);
    this.#current = undefined;
  }

  #ask(): void {
    const reading = this.#read(this.#at, Math.min(BLOCK_BYTES, this.#to - this.#at));
    // Who leaves early does not hear of it.
    reading.catch(() => undefined);
    this.#at += BLOCK_BYTES;
    this.#reading.push(reading);
  }

  async #read(at: number, wanted: number): Promise<Read> {
    const block = this.#pool.take();
    try {
      let bytes = (this.#past ? await this.#file.readPast(block, at) : undefined) ?? 0;
      // A short read is not the end yet, and what is not read past the page cache is read through it.
      while (bytes < wanted) {
        const more = await this.#file.read([block.subarray(bytes, wanted)], at + bytes);
        if (more === 0) break;
        bytes += more;
      }
      return { block, bytes: Math.min(bytes, wanted) };
    } catch (error) {
      this.#pool.give(block);
      throw error;
    }
  }
}
