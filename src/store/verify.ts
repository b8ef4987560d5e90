import { hash } from 'node:crypto';
import { FedgateError } from '../errors.js';
import { Bodies, nameOf } from './bodies.js';
import { type Identity, readIdentity } from './identity.js';
import { bodiesFolder, eachRow, openRows } from './open.js';
import { BODY_TABLE, bodyKey, isRow } from './row-bodies.js';
import type { Rows } from './rows.js';
import { damaged } from './rows-file.js';
import type { BodyRef, Row, Table } from './store.js';

/** The body that a row refers to, and its SHA-256. Undefined: none. What it throws makes the row a bad one. */
export type Verifier = (row: Row) => { readonly ref: BodyRef; readonly sha256: Uint8Array } | undefined;

export interface VerifyOptions {
  /** Whether bodies are read, all of them. */
  readonly bodies: boolean;
  /** By table, since only its owner can read its rows. */
  readonly verifiers: ReadonlyMap<Table, Verifier>;
  /** Ends it early: it then rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

export interface VerifyFinding {
  readonly table: Table;
  readonly key: Buffer;
  /** For people. */
  readonly problem: string;
}

export interface VerifyReport {
  readonly identity: Identity;
  readonly rows: number;
  readonly bodies: number;
  readonly bodyBytes: number;
  /** Bodies that are not there, or cut short. */
  readonly missing: number;
  /** Bodies that are not what was written, and rows that cannot be read. */
  readonly bad: number;
  /** The first of those, at most `MAX_FINDINGS`. */
  readonly findings: readonly VerifyFinding[];
}

/** Enough to see what happened; the counts tell the rest. */
export const MAX_FINDINGS = 100;

/**
 * Reads all rows of a store, and its bodies if wanted, while a gateway works with it. Changes nothing.
 * Throws STORE_DAMAGED when the rows cannot be read.
 */
export async function verifyStore(folder: string, { bodies, verifiers, signal }: VerifyOptions): Promise<VerifyReport> {
  const rows = await openRows(folder, { readOnly: true });
  const files = new Bodies(bodiesFolder(folder));
  try {
    const identity = await readIdentity(rows);
    if (!identity) throw damaged('it does not say which store it is');
    const check = new Check(rows, files);
    for (const table of rows.tables()) {
      const verifier = bodies ? verifiers.get(table) : undefined;
      await eachRow(rows, table, row => {
        signal?.throwIfAborted();
        return check.row(table, row, verifier);
      });
    }
    return check.report(identity);
  } finally {
    await files.close();
    await rows.close();
  }
}

class Check {
  readonly #rows: Rows;
  readonly #files: Bodies;
  readonly #counts = { rows: 0, bodies: 0, bodyBytes: 0, missing: 0, bad: 0 };
  readonly #findings: VerifyFinding[] = [];

  constructor(rows: Rows, files: Bodies) {
    this.#rows = rows;
    this.#files = files;
  }

  async row(table: Table, row: Row, verifier: Verifier | undefined): Promise<void> {
    this.#counts.rows++;
    if (row.damaged) {
      this.#find('bad', { table, key: row.key, problem: 'the row is not what was written' });
      return;
    }
    if (!verifier) return;
    let found: ReturnType<Verifier>;
    try {
      found = verifier(row);
    } catch {
      this.#find('bad', { table, key: row.key, problem: 'the row cannot be decoded' });
      return;
    }
    if (!found) return;
    const { ref, sha256 } = found;
    this.#counts.bodies++;
    this.#counts.bodyBytes += ref.length;
    const outcome = await this.#body(ref, sha256);
    // A gateway may have removed both since the row was read.
    if (outcome === 'good' || !(await this.#stands(table, row))) return;
    const problem =
      outcome === 'missing'
        ? `its body ${nameOf(ref)} is not there`
        : `its body ${nameOf(ref)} is not what was written`;
    this.#find(outcome, { table, key: row.key, problem });
  }

  report(identity: Identity): VerifyReport {
    return { identity, ...this.#counts, findings: this.#findings };
  }

  async #stands(table: Table, { key, value }: Row): Promise<boolean> {
    const [now] = await this.#rows.scan(table, { from: key, limit: 1 });
    return now !== undefined && !now.damaged && now.key.equals(key) && now.value.equals(value);
  }

  async #body(ref: BodyRef, sha256: Uint8Array): Promise<'good' | 'missing' | 'bad'> {
    if (isRow(ref)) return this.#rowBody(ref, sha256);
    try {
      return hash('sha256', await this.#files.read(ref), 'buffer').equals(sha256) ? 'good' : 'bad';
    } catch (error) {
      if (error instanceof FedgateError) return 'missing';
      throw error;
    }
  }

  async #rowBody(ref: BodyRef, sha256: Uint8Array): Promise<'good' | 'missing' | 'bad'> {
    const from = bodyKey(ref);
    const [row] = await this.#rows.scan(BODY_TABLE, { from, limit: 1 });
    if (!row?.key.equals(from)) return 'missing';
    return !row.damaged && hash('sha256', row.value, 'buffer').equals(sha256) ? 'good' : 'bad';
  }

  #find(kind: 'missing' | 'bad', finding: VerifyFinding): void {
    this.#counts[kind]++;
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding);
  }
}
