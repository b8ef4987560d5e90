import { Fifo } from '../../fifo.js';
import { BLOCK_BYTES, type BlockPool, blocks } from './blocks.js';
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
  readonly wanted: number;
}

const NOTHING = Buffer.alloc(0);

/** Blocks that are read ahead at most. A disk that others use too answers late, and then has several to answer. */
const AHEAD = 4;

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
  #ended = false;

  constructor(file: OpenFile, { from, to, past }: BlocksToRead, pool: BlockPool = blocks) {
    this.#file = file;
    this.#past = past;
    this.#at = from;
    this.#to = to;
    this.#pool = pool;
  }

  /** The bytes behind those before, a block or up to the end; none when the file ends before it. Good until the next call. Throws what the operating system says. */
  async next(): Promise<Buffer> {
    this.#release();
    if (this.#ended) return NOTHING;
    if (this.#reading.length === 0) this.#ask();
    const { block, bytes, wanted } = await (this.#reading.shift() as Promise<Read>);
    this.#current = block;
    if (bytes < wanted) this.#ended = true;
    while (this.#reading.length < this.#ahead && this.#at < this.#to) this.#ask();
    return block.subarray(0, bytes);
  }

  /** Does not wait for what is under way. */
  close(): void {
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
      const past = this.#past ? await this.#file.readPast(block, at) : undefined;
      const bytes = past ?? (await this.#file.read([block.subarray(0, wanted)], at));
      return { block, bytes: Math.min(bytes, wanted), wanted };
    } catch (error) {
      this.#pool.give(block);
      throw error;
    }
  }
}
