import { createHash } from 'node:crypto';
import { BatchHeader, ReceiptBody } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { LogRow } from '../../gen/ts/fedgate/store/v1/log.js';
import { OutboxRow, ReceiptRow } from '../../gen/ts/fedgate/store/v1/outbox.js';
import { LOG } from '../durable/log/tables.js';
import { positionOf, TABLE } from '../durable/outbox/rows.js';
import { compare } from '../durable/position.js';
import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Pattern } from '../messaging/address.js';
import { matches } from '../messaging/pattern.js';
import { key, numberAt, prefixed } from '../store/keys.js';
import type { BodyRef, KeyRange, Row, Store } from '../store/store.js';
import { type EvidenceLine, formatLine } from './format.js';
import type { Unreadable } from './unreadable.js';

export interface EvidenceRequest {
  readonly store: Store;
  readonly federation: string;
  /** Whose gateway this is. */
  readonly ownOrg: OrgName;
  readonly now: () => number;
  /** The other organisation. Undefined: all. */
  readonly org?: OrgName | undefined;
  readonly pattern?: Pattern | undefined;
  /** When they were stored: from, and before. */
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  readonly withoutRecords?: boolean | undefined;
  readonly direction?: 'sent' | 'received' | undefined;
}

/** A batch as a row has it. */
interface StoredBatch {
  readonly direction: 'sent' | 'received';
  readonly header: Uint8Array;
  readonly signature: Uint8Array;
  readonly certificateSha256: Uint8Array;
  readonly body: BodyRef | undefined;
  readonly digest: Uint8Array;
}

type Place = Pick<Unreadable, 'org' | 'epoch' | 'number'>;

/** Rows in memory at a time. */
const PAGE = 256;

/**
 * Writes what proves that batches were sent and received, line by line. Reads as it goes: what is trimmed meanwhile is left out, and
 * records that cannot be read any more are too. In the place of a batch or receipt whose row is damaged stands a line that says so, whatever
 * channel or time was asked for: those are not known any more. Throws STORE_* when the store cannot be read.
 */
export async function* exportEvidence(request: EvidenceRequest): AsyncGenerator<Buffer, void> {
  const { direction, federation, ownOrg: org } = request;
  const file = new EvidenceFile(request);
  yield file.line({ kind: 'evidence', version: 2, federation, org, made_ms: request.now() });
  if (direction !== 'received') yield* file.sent();
  if (direction !== 'sent') yield* file.received();
  yield file.end();
}

class EvidenceFile {
  readonly #request: EvidenceRequest;
  readonly #store: Store;
  readonly #digest = createHash('sha256');
  /** As many as gateways have had certificates in the time that is asked for. */
  readonly #certificates = new Set<string>();
  #batches = 0;
  #receipts = 0;

  constructor(request: EvidenceRequest) {
    this.#request = request;
    this.#store = request.store;
  }

  line(line: EvidenceLine): Buffer {
    const bytes = Buffer.from(formatLine(line));
    this.#digest.update(bytes);
    return bytes;
  }

  end(): Buffer {
    const counts = { certificates: this.#certificates.size, batches: this.#batches, receipts: this.#receipts };
    return Buffer.from(formatLine({ kind: 'end', ...counts, sha256: this.#digest.digest('hex') }));
  }

  /** Batches in the order of their streams, and behind those that a receipt covers, the receipt. */
  async *sent(): AsyncGenerator<Buffer, void> {
    const range = this.#request.org ? prefixed(key(this.#request.org)) : {};
    const receipts = new Receipts(this.#store, range);
    for await (const row of this.#rows(TABLE.batch, range)) {
      yield* this.#receipt(receipts.before(row.key));
      if (row.damaged) {
        yield this.#unreadable('batch', 'sent', sentPlace(row.key));
        continue;
      }
      const { header, signature, storedMs, body, certificateSha256 } = OutboxRow.decode(row.value);
      const { channel, contentSha256: digest } = BatchHeader.decode(header);
      if (!this.#wanted(channel, Number(storedMs))) continue;
      const batch = { direction: 'sent', header, signature, certificateSha256, body, digest } as const;
      const written = this.#batches;
      yield* this.#batch(batch, sentPlace(row.key));
      // A receipt stands behind a batch that it is for.
      if (this.#batches === written) continue;
      const damaged = await receipts.cover(row.key);
      if (damaged) yield this.#unreadable('receipt', 'sent', sentPlace(damaged));
    }
    yield* this.#receipt(receipts.before(undefined));
  }

  /** Batches of others, in the order of the log. Gaps that never had a header prove nothing. */
  async *received(): AsyncGenerator<Buffer, void> {
    for await (const row of this.#rows(LOG, {})) {
      if (row.damaged) {
        yield this.#unreadable('batch', 'received', { org: '', epoch: '', number: numberAt(row.key, 0) });
        continue;
      }
      const { stream, senderOrg, channel, storedMs, body, contentSha256: digest } = LogRow.decode(row.value);
      if (!stream || stream.header.length === 0 || !this.#wanted(channel, Number(storedMs))) continue;
      if (this.#request.org && senderOrg !== this.#request.org) continue;
      const { header, signature, certificateSha256, epoch, sequence } = stream;
      const batch = { direction: 'received', header, signature, certificateSha256, body, digest } as const;
      yield* this.#batch(batch, { org: senderOrg, epoch: String(epoch), number: Number(sequence) });
    }
  }

  #unreadable(what: Unreadable['what'], direction: Unreadable['direction'], place: Place): Buffer {
    return this.line({ kind: 'unreadable', what, direction, ...place });
  }

  #wanted(channel: string, storedMs: number): boolean {
    const { pattern, fromMs = 0, toMs = Number.POSITIVE_INFINITY } = this.#request;
    return storedMs >= fromMs && storedMs < toMs && (!pattern || matches(pattern, channel));
  }

  async *#batch(batch: StoredBatch, place: Place): AsyncGenerator<Buffer, void> {
    const { direction, header, signature, certificateSha256, body, digest } = batch;
    const records = await this.#records(body, digest);
    const certificate = await this.#certificate(certificateSha256);
    if (!certificate) {
      yield this.#unreadable('batch', direction, place);
      return;
    }
    yield* certificate;
    this.#batches++;
    yield this.line({
      kind: 'batch',
      direction,
      header: base64(header),
      signature: base64(signature),
      certificate: hex(certificateSha256),
      records: records ? base64(records) : null,
    });
  }

  async *#receipt(found: FoundReceipt | undefined): AsyncGenerator<Buffer, void> {
    if (!found) return;
    const { body, signature, certificateSha256 } = found.row;
    const certificate = await this.#certificate(certificateSha256);
    if (!certificate) {
      yield this.#unreadable('receipt', 'sent', sentPlace(found.key));
      return;
    }
    yield* certificate;
    this.#receipts++;
    yield this.line({
      kind: 'receipt',
      body: base64(body),
      signature: base64(signature),
      certificate: hex(certificateSha256),
    });
  }

  /** The line of a certificate, unless it stands in the file already. Undefined: it cannot be read, and what it would prove is not proven. */
  async #certificate(sha256: Uint8Array): Promise<readonly Buffer[] | undefined> {
    const name = hex(sha256);
    if (this.#certificates.has(name)) return [];
    const at = Buffer.from(sha256);
    const [row] = await this.#store.scan(TABLE.certificate, {
      from: at,
      to: Buffer.concat([at, Buffer.of(0)]),
      limit: 1,
    });
    if (!row || row.damaged) return undefined;
    this.#certificates.add(name);
    return [this.line({ kind: 'certificate', sha256: name, der: base64(row.value) })];
  }

  async #records(body: BodyRef | undefined, digest: Uint8Array): Promise<Buffer | undefined> {
    if (!body || this.#request.withoutRecords) return undefined;
    try {
      return await this.#store.read(body, digest);
    } catch (error) {
      if (error instanceof FedgateError && error.reason === 'BODY_UNREADABLE') return undefined;
      throw error;
    }
  }

  async *#rows(table: string, { from, to }: KeyRange): AsyncGenerator<Row, void> {
    for (let at = from; ; ) {
      const rows = await this.#store.scan(table, { ...(at && { from: at }), ...(to && { to }), limit: PAGE });
      yield* rows;
      const last = rows.at(-1);
      if (!last || rows.length < PAGE) return;
      at = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }
}

interface FoundReceipt {
  readonly key: Buffer;
  readonly row: ReceiptRow;
}

/** The receipt that covers the batches written last. */
class Receipts {
  readonly #store: Store;
  readonly #range: KeyRange;
  #current: FoundReceipt | undefined;
  /** The last that was found to be damaged. */
  #damaged: Buffer | undefined;

  constructor(store: Store, range: KeyRange) {
    this.#store = store;
    this.#range = range;
  }

  /** The receipt to be written before a batch: one that does not cover it. */
  before(batch: Buffer | undefined): FoundReceipt | undefined {
    const current = this.#current;
    if (!current || (batch && covers(current.key, batch))) return undefined;
    this.#current = undefined;
    return current;
  }

  /** Finds the receipt of a batch that was just written. Resolves with its key when its row is damaged, once for all its batches. */
  async cover(batch: Buffer): Promise<Buffer | undefined> {
    if (this.#current || (this.#damaged && covers(this.#damaged, batch))) return undefined;
    const { to } = this.#range;
    const [row] = await this.#store.scan(TABLE.receipt, { from: batch, ...(to && { to }), limit: 1 });
    if (!row?.key.subarray(0, -8).equals(batch.subarray(0, -8))) return undefined;
    if (row.damaged) {
      this.#damaged = row.key;
      return row.key;
    }
    const receipt = ReceiptRow.decode(row.value);
    const { lastSequence } = ReceiptBody.decode(receipt.body);
    const { sequence } = positionOf(batch);
    if (BigInt(sequence) >= receipt.firstSequence && BigInt(sequence) <= lastSequence)
      this.#current = { key: row.key, row: receipt };
    return undefined;
  }
}

/** Keys of one stream differ in their last eight bytes only: the sequence. */
const covers = (receipt: Buffer, batch: Buffer): boolean =>
  receipt.subarray(0, -8).equals(batch.subarray(0, -8)) && compare(positionOf(batch), positionOf(receipt)) <= 0;

function sentPlace(rowKey: Buffer): Place {
  const { epoch, sequence } = positionOf(rowKey);
  return { org: rowKey.toString('utf8', 0, rowKey.length - 17), epoch: String(epoch), number: sequence };
}

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
