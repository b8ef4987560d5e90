import { randomBytes } from 'node:crypto';
import { FedgateError } from '../../src/errors.js';
import type { Change } from '../../src/store/store.js';
import { MemoryDisk, MemoryStore } from './memory-store.js';

/** A store whose process can be killed at any instant, and whose disk can be copied. */
export class TestStore extends MemoryStore {
  override readonly id: Buffer;
  #dead = false;
  #manual = false;
  #queue: { readonly change: Change; resolve(): void; reject(error: unknown): void }[] = [];

  constructor(disk = new MemoryDisk(), id: Buffer = randomBytes(16), restoredMs = 0) {
    super(disk);
    this.id = id;
    this.restoredMs = restoredMs;
  }

  /** Changes wait for `flush` from now on, or no longer. */
  set manual(manual: boolean) {
    this.#manual = manual;
    if (!manual) this.flush();
  }

  override commit(change: Change): Promise<void> {
    if (this.#dead) return new Promise(() => undefined);
    if (!this.#manual) return super.commit(change);
    return new Promise((resolve, reject) => this.#queue.push({ change, resolve, reject }));
  }

  /** Commits what waits, or refuses it: all of it, or the first few. */
  flush(outcome: 'stored' | 'failed' = 'stored', count = this.#queue.length): void {
    const group = this.#queue.splice(0, count);
    for (const { change, resolve, reject } of group) {
      if (outcome === 'failed') reject(new FedgateError('STORE_FAILED', 'the disk failed'));
      else super.commit(change).then(resolve, reject);
    }
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /**
   * The process is gone. Of the changes that were under way the first `stored` are on the disk, although nobody was told. Nothing that
   * the old process does matters any more.
   */
  async kill(stored = 0): Promise<TestStore> {
    const group = this.#queue.splice(0);
    await Promise.all(group.slice(0, stored).map(({ change }) => super.commit(change)));
    await this.close();
    this.#dead = true;
    return new TestStore(this.disk, this.id, this.restoredMs);
  }

  /** A copy of what is on the disk, to be restored later under another id. */
  backup(): (nowMs: number) => TestStore {
    const copy = copyOf(this.disk);
    return nowMs => new TestStore(copyOf(copy), randomBytes(16), nowMs);
  }
}

function copyOf(disk: MemoryDisk): MemoryDisk {
  const copy = new MemoryDisk();
  for (const [name, { rows }] of disk.tables) copy.tables.set(name, { rows: new Map(rows), sorted: undefined });
  for (const [name, bytes] of disk.bodies) copy.bodies.set(name, bytes);
  return copy;
}
