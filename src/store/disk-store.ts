import { hash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FedgateError } from '../errors.js';
import { type Bodies, nameOf } from './bodies.js';
import { CommitQueue } from './commit-queue.js';
import type { Passage } from './crash.js';
import { storeFailure } from './failures.js';
import { HealthWatch } from './health.js';
import type { Identity } from './identity.js';
import type { Lock } from './lock.js';
import { BODY_TABLE, bodyKey, isRow, writeBody } from './row-bodies.js';
import { checkKey, type Rows } from './rows.js';
import type { Segments } from './segments.js';
import {
  type BodyRef,
  Change,
  type Row,
  type ScanOptions,
  type Store,
  type StoreHealth,
  type StoreStats,
  type Table,
} from './store.js';

/** What a probe needs to find free beyond the reserve, so that health does not flap at the edge. */
const PROBE_BYTES = 1024 * 1024;

export interface DiskStoreParts {
  readonly folder: string;
  readonly identity: Identity;
  readonly lock: Lock;
  readonly rows: Rows;
  readonly segments: Segments;
  readonly bodies: Bodies;
  readonly reserveBytes: number;
  readonly pass: Passage;
}

/**
 * The store on a disk: rows in LMDB, bodies in segment files that are only appended to.
 *
 * Bodies are not in LMDB because it maps its file: reading a backlog would count as resident memory of the process. Small ones are: they
 * are no larger than the rows that refer to them, and a file would be one more sync to wait for.
 */
export class DiskStore implements Store {
  readonly id: Buffer;
  readonly restoredMs: number;
  readonly #parts: DiskStoreParts;
  readonly #health: HealthWatch;
  readonly #queue = new CommitQueue(group => this.#apply(group));
  #commits = 0;
  #changes = 0;
  #closing: Promise<void> | undefined;

  static async open(parts: DiskStoreParts): Promise<DiskStore> {
    const store = new DiskStore(parts);
    await store.#health.begin();
    return store;
  }

  private constructor(parts: DiskStoreParts) {
    this.#parts = parts;
    this.id = parts.identity.id;
    this.restoredMs = parts.identity.restoredMs;
    const { folder, reserveBytes } = parts;
    this.#health = new HealthWatch({ folder, reserveBytes, probe: () => this.#probe() });
  }

  get health(): StoreHealth {
    return this.#health.health;
  }

  onHealth(listener: (health: StoreHealth) => void): () => void {
    return this.#health.onHealth(listener);
  }

  get(table: Table, key: Buffer): Promise<Buffer | undefined> {
    return this.#parts.rows.get(table, key);
  }

  scan(table: Table, options: ScanOptions): Promise<Row[]> {
    return this.#parts.rows.scan(table, options);
  }

  reserve(log: string, length: number): BodyRef {
    return this.#parts.segments.reserve(log, length);
  }

  async read(ref: BodyRef, sha256: Uint8Array): Promise<Buffer> {
    const body = await (isRow(ref) ? readRowBody(this.#parts.rows, ref) : this.#parts.bodies.read(ref));
    if (hash('sha256', body, 'buffer').equals(sha256)) return body;
    throw new FedgateError('BODY_UNREADABLE', `body ${nameOf(ref)} is not what was written`);
  }

  commit(change: Change, { patient = false } = {}): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(new FedgateError('STORE_FAILED', 'the store is closed'));
    try {
      check(change);
    } catch (error) {
      return Promise.reject(error);
    }
    // What comes with bodies may be refused while the disk is full, and would take others along.
    return this.#queue.commit(change, patient && this.health.state === 'ok');
  }

  async stats(): Promise<StoreStats> {
    const { folder, segments } = this.#parts;
    const rows = await stat(join(folder, 'rows', 'data.mdb'));
    return {
      diskBytes: rows.blocks * 512 + segments.fileBytes(),
      freeBytes: await this.#health.freeBytes(),
      commits: this.#commits,
      changes: this.#changes,
      bodyBytes: segments.bodyBytes(),
    };
  }

  /** Carries out what was handed in, then lets go of everything. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#health.close();
    await this.#queue.idle();
    const { rows, bodies, lock } = this.#parts;
    await bodies.close();
    await rows.close();
    await lock.release();
  }

  /** One group: bodies, their sync, then all rows in one transaction. In between a crash leaves bytes that no row refers to. */
  async #apply(group: readonly Change[]): Promise<void> {
    if (group.every(change => change.empty)) return;
    const { rows, segments, bodies, pass } = this.#parts;
    pass('before-write');
    const withBodies = group.filter(change => change.bodies.length > 0);
    const inFiles = withBodies.flatMap(({ bodies: all }) => all.filter(({ ref }) => !isRow(ref)));
    try {
      if (withBodies.length > 0) {
        await this.#health.admit(lengthOf(withBodies));
        await bodies.write(inFiles, () => pass('after-write'));
        pass('after-sync');
      }
      const plan = segments.plan(group);
      await rows.write(writer => {
        for (const change of group) {
          for (const { table, ...range } of change.ranges) writer.removeRange(table, range);
          for (const { table, key } of change.removals) writer.remove(table, key);
          for (const ref of change.released) if (isRow(ref)) writer.remove(BODY_TABLE, bodyKey(ref));
          for (const { table, key, value } of change.puts) writer.put(table, key, value);
          for (const { ref, parts } of change.bodies) if (isRow(ref)) writeBody(writer, ref, parts);
        }
        segments.write(plan, writer);
      });
      pass('after-commit');
      segments.committed(plan);
    } catch (error) {
      const failure = storeFailure(error, 'nothing was stored');
      // After a failed sync the kernel may hold pages as clean that never reached the disk: nothing is appended to those files again.
      const refs = inFiles.map(({ ref }) => ref);
      segments.abandon(refs);
      bodies.forget(refs);
      this.#health.failed(failure);
      throw failure;
    }
    this.#commits++;
    this.#changes += group.length;
    if (withBodies.length > 0) this.#health.succeeded();
    await this.#trim();
  }

  /** Removes files of which nothing is needed. Those that stay for whatever reason are swept at the next start. */
  async #trim(): Promise<void> {
    const { segments, bodies, pass } = this.#parts;
    for (const id of segments.takeUnused()) {
      pass('during-trim');
      await bodies.remove(id).catch(() => undefined);
    }
  }

  /** Writes as a commit does: a row and, in a log of its own, a body. */
  async #probe(): Promise<void> {
    await this.#health.admit(PROBE_BYTES);
    const ref = this.reserve('probe', 4096);
    await this.#queue.commit(new Change().write(ref, [Buffer.alloc(ref.length)]));
    await this.#queue.commit(new Change().release(ref));
  }
}

const lengthOf = (changes: readonly Change[]): number =>
  changes.reduce((sum, { bodies }) => sum + bodies.reduce((bytes, { ref }) => bytes + ref.length, 0), 0);

async function readRowBody(rows: Rows, ref: BodyRef): Promise<Buffer> {
  let cause: unknown;
  try {
    const body = await rows.get(BODY_TABLE, bodyKey(ref));
    if (body?.length === ref.length) return body;
  } catch (error) {
    if (!(error instanceof FedgateError) || error.reason !== 'STORE_DAMAGED') throw error;
    cause = error;
  }
  throw new FedgateError('BODY_UNREADABLE', `body ${nameOf(ref)} cannot be read`, { cause });
}

/** What would only be noticed in the middle of a group, where it would take others along. */
function check(change: Change): void {
  for (const { table, key } of change.puts) checkKey(table, key);
  for (const { table, key } of change.removals) checkKey(table, key);
  for (const { ref, parts } of change.bodies) {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (length !== ref.length) throw new RangeError(`a body of ${length} bytes where ${ref.length} were reserved`);
  }
}
