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
import { key, prefixed } from '../store/keys.js';
import type { BodyRef, KeyRange, Row, Store } from '../store/store.js';
import { type EvidenceLine, formatLine } from './format.js';

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

/** Rows in memory at a time. */
const PAGE = 256;

/**
 * Writes what proves that batches were sent and received, line by line. Reads as it goes: what is trimmed meanwhile is left out, and
 * records that cannot be read any more are too. Throws STORE_* when the store cannot be read.
 */
export async function* exportEvidence(request: EvidenceRequest): AsyncGenerator<Buffer, void> {
  const { direction, federation, ownOrg: org } = request;
  const file = new EvidenceFile(request);
  yield file.line({ kind: 'evidence', version: 1, federation, org, made_ms: request.now() });
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
      const { header, signature, storedMs, body, certificateSha256 } = OutboxRow.decode(row.value);
      if (!this.#wanted(BatchHeader.decode(header).channel, Number(storedMs))) continue;
      yield* this.#receipt(receipts.before(row.key));
      const digest = BatchHeader.decode(header).contentSha256;
      yield* this.#batch('sent', header, signature, certificateSha256, body, digest);
      await receipts.cover(row.key);
    }
    yield* this.#receipt(receipts.before(undefined));
  }

  /** Batches of others, in the order of the log. Gaps that never had a header prove nothing. */
  async *received(): AsyncGenerator<Buffer, void> {
    for await (const { value } of this.#rows(LOG, {})) {
      const { stream, senderOrg, channel, storedMs, body, contentSha256 } = LogRow.decode(value);
      if (!stream || stream.header.length === 0 || !this.#wanted(channel, Number(storedMs))) continue;
      if (this.#request.org && senderOrg !== this.#request.org) continue;
      yield* this.#batch('received', stream.header, stream.signature, stream.certificateSha256, body, contentSha256);
    }
  }

  #wanted(channel: string, storedMs: number): boolean {
    const { pattern, fromMs = 0, toMs = Number.POSITIVE_INFINITY } = this.#request;
    return storedMs >= fromMs && storedMs < toMs && (!pattern || matches(pattern, channel));
  }

  async *#batch(
    direction: 'sent' | 'received',
    header: Uint8Array,
    signature: Uint8Array,
    certificateSha256: Uint8Array,
    body: BodyRef | undefined,
    digest: Uint8Array,
  ): AsyncGenerator<Buffer, void> {
    const records = await this.#records(body, digest);
    yield* this.#certificate(certificateSha256);
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

  async *#receipt(row: ReceiptRow | undefined): AsyncGenerator<Buffer, void> {
    if (!row) return;
    const { body, signature, certificateSha256 } = row;
    yield* this.#certificate(certificateSha256);
    this.#receipts++;
    const certificate = hex(certificateSha256);
    yield this.line({ kind: 'receipt', body: base64(body), signature: base64(signature), certificate });
  }

  async *#certificate(sha256: Uint8Array): AsyncGenerator<Buffer, void> {
    const name = hex(sha256);
    if (this.#certificates.has(name)) return;
    const der = await this.#store.get(TABLE.certificate, Buffer.from(sha256));
    if (!der) throw new FedgateError('STORE_DAMAGED', `certificate ${name} is not in the store`);
    this.#certificates.add(name);
    yield this.line({ kind: 'certificate', sha256: name, der: base64(der) });
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

/** The receipt that covers the batches written last. */
class Receipts {
  readonly #store: Store;
  readonly #range: KeyRange;
  #current: { readonly key: Buffer; readonly row: ReceiptRow } | undefined;

  constructor(store: Store, range: KeyRange) {
    this.#store = store;
    this.#range = range;
  }

  /** The receipt to be written before a batch: one that does not cover it. */
  before(batch: Buffer | undefined): ReceiptRow | undefined {
    const current = this.#current;
    if (!current || (batch && covers(current.key, batch))) return undefined;
    this.#current = undefined;
    return current.row;
  }

  /** Finds the receipt of a batch that was just written. */
  async cover(batch: Buffer): Promise<void> {
    if (this.#current) return;
    const { to } = this.#range;
    const [row] = await this.#store.scan(TABLE.receipt, { from: batch, ...(to && { to }), limit: 1 });
    if (!row) return;
    const receipt = ReceiptRow.decode(row.value);
    const sameStream = row.key.subarray(0, -8).equals(batch.subarray(0, -8));
    const { lastSequence } = ReceiptBody.decode(receipt.body);
    const { sequence } = positionOf(batch);
    if (sameStream && BigInt(sequence) >= receipt.firstSequence && BigInt(sequence) <= lastSequence) {
      this.#current = { key: row.key, row: receipt };
    }
  }
}

/** Keys of one stream differ in their last eight bytes only: the sequence. */
const covers = (receipt: Buffer, batch: Buffer): boolean =>
  receipt.subarray(0, -8).equals(batch.subarray(0, -8)) && compare(positionOf(batch), positionOf(receipt)) <= 0;

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
