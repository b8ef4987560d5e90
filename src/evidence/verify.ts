import { createHash, type Hash, X509Certificate } from 'node:crypto';
import { BatchHeader, ReceiptBody } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { describe, FedgateError } from '../errors.js';
import { verifyDetached } from '../identity/signing.js';
import { sha256 } from '../sha256.js';
import { Authorities, type TrustedAuthority } from './authorities.js';
import { type EvidenceLine, invalid, parseLine } from './format.js';
import { readLines } from './lines.js';
import type { Unreadable } from './unreadable.js';

type Batch = Extract<EvidenceLine, { kind: 'batch' }>;
type Receipt = Extract<EvidenceLine, { kind: 'receipt' }>;

/** What a file proves about one batch. */
export interface ProvenBatch {
  readonly line: number;
  readonly direction: 'sent' | 'received';
  readonly header: BatchHeader;
  /** Whether the records are in the file. */
  readonly records: boolean;
}

/** What the receiver said of a batch that was sent. */
export interface ProvenReceipt {
  readonly batch: ProvenBatch;
  readonly line: number;
  readonly receipt: ReceiptBody;
  /** Why it was received and not stored; undefined: it was stored. */
  readonly refusal: string | undefined;
}

export interface EvidenceReport {
  readonly federation: string;
  readonly org: string;
  readonly madeMs: number;
  readonly sent: number;
  /** Of those sent: with a receipt that says stored, or refused. The rest were received by nobody's word. */
  readonly stored: number;
  readonly refused: number;
  readonly received: number;
  readonly records: number;
  readonly withRecords: number;
  /** Batches and receipts that whoever made the file says could not be read: nothing is proven of them. */
  readonly unreadable: number;
  /** SHA-256 fingerprints of the CA certificates that it rests on, by organisation: to be compared with what the members say. */
  readonly authorities: ReadonlyMap<string, readonly string[]>;
}

export interface VerifyOptions {
  readonly onBatch?: (batch: ProvenBatch) => void;
  readonly onReceipt?: (receipt: ProvenReceipt) => void;
  readonly onUnreadable?: (found: Unreadable & { readonly line: number }) => void;
}

/**
 * Verifies an evidence file with nothing but the CA certificates of the members. Memory: the digests of batches without a receipt.
 *
 * Throws EVIDENCE_INVALID naming the line, FIELD_INVALID for a CA certificate that is none.
 */
export async function verifyEvidence(
  file: AsyncIterable<Uint8Array>,
  trusted: readonly TrustedAuthority[],
  options: VerifyOptions = {},
): Promise<EvidenceReport> {
  let verifier: Verifier | undefined;
  const digest = createHash('sha256');
  let number = 0;
  for await (const line of readLines(file)) {
    number++;
    const parsed = parseLine(line, number);
    if (!verifier) {
      if (parsed.kind !== 'evidence') throw invalid(number, 'the file does not begin as an evidence file does');
      verifier = new Verifier(parsed, new Authorities(parsed.federation, trusted), options);
    } else verifier.take(parsed, number, digest);
    digest.update(line).update('\n');
  }
  if (!verifier?.complete) throw invalid(number + 1, 'the file ends before its closing line');
  return verifier.report;
}

/** A batch that waits for a receipt. */
interface Unreceipted {
  readonly batch: ProvenBatch;
  readonly headerSha256: Buffer;
}

class Verifier {
  readonly #start: Extract<EvidenceLine, { kind: 'evidence' }>;
  readonly #authorities: Authorities;
  readonly #options: VerifyOptions;
  readonly #certificates = new Map<string, X509Certificate>();
  readonly #unreceipted = new Map<string, Unreceipted>();
  /** The last position of each stream: a batch stands in the file once. */
  readonly #last = new Map<string, { readonly epoch: bigint; readonly sequence: bigint }>();
  readonly #used = new Set<string>();
  #counts = { sent: 0, stored: 0, refused: 0, received: 0, records: 0, withRecords: 0, unreadable: 0 };
  #receipts = 0;
  complete = false;

  constructor(start: Extract<EvidenceLine, { kind: 'evidence' }>, authorities: Authorities, options: VerifyOptions) {
    this.#start = start;
    this.#authorities = authorities;
    this.#options = options;
  }

  get report(): EvidenceReport {
    const { federation, org, made_ms: madeMs } = this.#start;
    const authorities = new Map(
      [...this.#authorities.all()]
        .filter(member => this.#used.has(member.org))
        .map(member => [member.org as string, member.authorities.map(ca => ca.fingerprint256)]),
    );
    return { federation, org, madeMs, ...this.#counts, authorities };
  }

  take(line: EvidenceLine, number: number, before: Hash): void {
    if (this.complete) throw invalid(number, 'something stands behind the closing line');
    switch (line.kind) {
      case 'evidence':
        throw invalid(number, 'the file begins twice');
      case 'certificate':
        return this.#certificate(line.sha256, Buffer.from(line.der, 'base64'), number);
      case 'batch':
        return this.#batch(line, number);
      case 'receipt':
        return this.#receipt(line, number);
      case 'unreadable':
        return this.#unreadable(line, number);
      case 'end':
        return this.#end(line, number, before);
    }
  }

  #certificate(name: string, der: Buffer, number: number): void {
    if (sha256(der).toString('hex') !== name)
      throw invalid(number, 'the certificate is not the one that it is named as');
    if (this.#certificates.has(name)) throw invalid(number, 'the certificate stands in the file twice');
    try {
      this.#certificates.set(name, new X509Certificate(der));
    } catch (cause) {
      throw invalid(number, 'the certificate cannot be read', cause);
    }
  }

  #batch(line: Batch, number: number): void {
    const bytes = Buffer.from(line.header, 'base64');
    const header = decode(() => BatchHeader.decode(bytes), number, 'header');
    const { originOrg, originGateway, recipientOrg } = header;
    this.#sameFederation(header.federation, number);
    if ((line.direction === 'sent' ? originOrg : recipientOrg) !== this.#start.org) {
      throw invalid(
        number,
        `the batch is from ${originOrg} for ${recipientOrg}, and was not ${line.direction} by ${this.#start.org}`,
      );
    }
    this.#signed(
      'batch',
      line,
      bytes,
      { org: originOrg, gateway: originGateway, timeMs: Number(header.timeMs) },
      number,
    );
    if (line.records !== null && !sha256(Buffer.from(line.records, 'base64')).equals(header.contentSha256))
      throw invalid(number, 'the records are not those that were signed');
    this.#next(line.direction, header, number);
    const batch = { line: number, direction: line.direction, header, records: line.records !== null };
    this.#counts[line.direction]++;
    this.#counts.records += header.recordCount;
    if (batch.records) this.#counts.withRecords++;
    if (line.direction === 'sent')
      this.#unreceipted.set(nameOf(header, header.sequence), { batch, headerSha256: sha256(bytes) });
    this.#options.onBatch?.(batch);
  }

  #receipt(line: Receipt, number: number): void {
    const bytes = Buffer.from(line.body, 'base64');
    const body = decode(() => ReceiptBody.decode(bytes), number, 'receipt');
    this.#sameFederation(body.federation, number);
    const { recipientOrg: org, recipientGateway: gateway } = body;
    this.#signed('receipt', line, bytes, { org, gateway, timeMs: Number(body.timeMs) }, number);
    const { firstSequence, lastSequence, headerSha256 } = body;
    if (lastSequence < firstSequence || BigInt(headerSha256.length) !== lastSequence - firstSequence + 1n)
      throw invalid(number, 'the receipt does not have one digest per batch');
    this.#receipts++;
    let covered = 0;
    for (const [i, digest] of headerSha256.entries()) {
      const sequence = firstSequence + BigInt(i);
      const found = this.#unreceipted.get(nameOf(body, sequence));
      if (!found) continue;
      covered++;
      this.#cover(found, digest, sequence, body, number);
    }
    if (covered === 0) throw invalid(number, 'the receipt is for no batch before it in the file');
  }

  #cover(
    { batch, headerSha256 }: Unreceipted,
    digest: Uint8Array,
    sequence: bigint,
    receipt: ReceiptBody,
    number: number,
  ): void {
    // The receiver has it and no longer knows which it was: that proves nothing, and is no lie.
    if (digest.length === 0) return;
    if (!headerSha256.equals(digest))
      throw invalid(number, `the receipt is for another batch ${sequence} than the one in line ${batch.line}`);
    this.#unreceipted.delete(nameOf(receipt, sequence));
    const refused = receipt.refusals.find(refusal => refusal.sequence === sequence);
    if (refused) this.#counts.refused++;
    else this.#counts.stored++;
    const refusal = refused && (refused.error?.message ?? '');
    this.#options.onReceipt?.({ batch, line: number, receipt, refusal });
  }

  #unreadable({ kind: _, ...found }: Extract<EvidenceLine, { kind: 'unreadable' }>, number: number): void {
    if (this.#start.version < 2) throw invalid(number, 'a file of version 1 has no such lines');
    this.#counts.unreadable++;
    this.#options.onUnreadable?.({ line: number, ...found });
  }

  #end(line: Extract<EvidenceLine, { kind: 'end' }>, number: number, before: Hash): void {
    const { sent, received } = this.#counts;
    if (line.certificates !== this.#certificates.size) throw invalid(number, 'certificates are missing, or too many');
    if (line.batches !== sent + received) throw invalid(number, 'batches are missing, or too many');
    if (line.receipts !== this.#receipts) throw invalid(number, 'receipts are missing, or too many');
    if (line.sha256 !== before.copy().digest('hex'))
      throw invalid(number, 'the file is not the one that was closed with this line');
    this.complete = true;
  }

  #sameFederation(federation: string, number: number): void {
    if (federation !== this.#start.federation) throw invalid(number, `it is of another federation: ${federation}`);
  }

  /** The certificate must be in the file before, vouched for by a CA at hand, and that of the gateway that is said to have signed. */
  #signed(
    purpose: 'batch' | 'receipt',
    { signature, certificate }: { readonly signature: string; readonly certificate: string },
    bytes: Buffer,
    { org, gateway, timeMs }: { readonly org: string; readonly gateway: string; readonly timeMs: number },
    number: number,
  ): void {
    const shown = this.#certificates.get(certificate);
    if (!shown) throw invalid(number, 'its certificate is not in the file before it');
    let good: boolean;
    try {
      const key = this.#authorities.keyOf(shown, org, gateway, timeMs);
      good = verifyDetached(purpose, key, bytes, Buffer.from(signature, 'base64'));
    } catch (error) {
      if (error instanceof FedgateError) throw invalid(number, describe(error), error);
      throw error;
    }
    if (!good) throw invalid(number, `the signature of ${org}/${gateway} does not hold`);
    this.#used.add(org);
  }

  #next(direction: string, header: BatchHeader, number: number): void {
    const name = `${direction} ${header.originGateway} ${header.originOrg} ${header.recipientOrg}`;
    const last = this.#last.get(name);
    const { streamEpoch: epoch, sequence } = header;
    if (!header.durable) throw invalid(number, 'the batch is a live one: no stream numbers it');
    if (last && (epoch < last.epoch || (epoch === last.epoch && sequence <= last.sequence)))
      throw invalid(number, `batch ${sequence} of epoch ${epoch} does not come behind the one before it in its stream`);
    this.#last.set(name, { epoch, sequence });
  }
}

const nameOf = (
  {
    originOrg,
    originGateway,
    recipientOrg,
    streamEpoch,
  }: Pick<BatchHeader, 'originOrg' | 'originGateway' | 'recipientOrg' | 'streamEpoch'>,
  sequence: bigint,
): string => `${originOrg} ${originGateway} ${recipientOrg} ${streamEpoch} ${sequence}`;

function decode<T>(read: () => T, number: number, what: string): T {
  try {
    return read();
  } catch (cause) {
    throw invalid(number, `the ${what} cannot be read`, cause);
  }
}
