/** What the disk is given, and asked for, at once: calls cost more than the bytes. A multiple of what any disk wants. */
export const BLOCK_BYTES = 256 * 1024;
/** What a place in a file, and a length, must be a multiple of to go past the page cache. */
export const ALIGNED_BYTES = 4_096;
/** Blocks on whole pages that a process has for what it reads, at most. */
const READ_BLOCKS = 32;
/** The same for what it writes: readers who do not go on keep theirs, and nobody else's. */
const WRITE_BLOCKS = 24;

const WASM_PAGE_BYTES = 64 * 1024;

/** The part of it that is of use here; the types of Node do not have it. */
declare const WebAssembly: {
  readonly Memory: new (pages: {
    readonly initial: number;
    readonly maximum: number;
  }) => { readonly buffer: ArrayBuffer };
};

/** Memory whose blocks begin on pages. */
const paged = new WeakSet<ArrayBufferLike>();

/** Whether a block, or what is left of its beginning, begins on a page of memory. */
export const isAligned = ({ buffer }: Buffer): boolean => paged.has(buffer);

/**
 * Blocks of memory that are used again and again: for bytes between the network and the disk.
 *
 * Those it gives out first begin on a page of memory, as the kernel wants it of bytes that go past the page cache (open(2), O_DIRECT). Node has no
 * such memory of its own; that of a WebAssembly instance is. When they are all in use there are ordinary ones, which are garbage afterwards.
 */
export class BlockPool {
  readonly #most: number;
  /** Those it keeps, in the order of their places in memory, and those of them that nobody uses. */
  #kept: readonly Buffer[] | undefined;
  #free: Buffer[] = [];
  #used = 0;

  /** `most`: how many blocks it keeps. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether all that it keeps are in use: whoever can wait should. */
  get scarce(): boolean {
    return this.#used >= this.#most;
  }

  /** Whether less than half of them are. */
  get plenty(): boolean {
    return this.#used * 2 < this.#most;
  }

  /** Its bytes are whatever was in them before. */
  take(): Buffer {
    this.#used++;
    this.#kept ??= this.#reserve();
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  }

  /** A block, or what is left of its beginning, that nobody reads or writes any more. */
  give(block: Buffer): void {
    this.#used--;
    const kept = isAligned(block) ? this.#kept?.[block.byteOffset / BLOCK_BYTES] : undefined;
    if (kept) this.#free.push(kept);
  }

  /** Memory that was never touched takes no room. The one that was given back last is given out first, so that few are touched. */
  #reserve(): readonly Buffer[] {
    const memory = wasmMemory((this.#most * BLOCK_BYTES) / WASM_PAGE_BYTES);
    if (!memory) return [];
    paged.add(memory);
    const kept = Array.from({ length: this.#most }, (_, i) => Buffer.from(memory, i * BLOCK_BYTES, BLOCK_BYTES));
    this.#free = kept.toReversed();
    return kept;
  }
}

/** Undefined where there is none to be had: no WebAssembly, or no room for it among the addresses of the process. */
function wasmMemory(pages: number): ArrayBuffer | undefined {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
  } catch {
    return undefined;
  }
}

/** Of the process, for what is read from files. */
export const readBlocks = new BlockPool(READ_BLOCKS);
/** Of the process, for what is written to them. */
export const writeBlocks = new BlockPool(WRITE_BLOCKS);
