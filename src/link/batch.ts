import { type KeyObject, randomBytes } from 'node:crypto';
import { BatchHeader, type ReplyTerms } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import { signDetached, verifyDetached } from '../identity/signing.js';
import { sha256 } from '../sha256.js';
import type { SealedBatch } from '../wire/lane-frames.js';
import { malformed } from '../wire/reader.js';
import { type RecordBlock, tooLarge } from '../wire/records.js';

/** Records of one channel from one publisher on their way to another organisation. */
export interface OutgoingBatch {
  readonly channel: string;
  readonly senderNode: string;
  readonly patienceMs: number;
  readonly records: RecordBlock;
  /** The records are requests: one for each. */
  readonly requests?: readonly OutgoingRequest[] | undefined;
  /** The records are answers: one for each. */
  readonly replies?: readonly ReplyTerms[] | undefined;
}

/** What stands beside a record that is a request. */
export interface OutgoingRequest {
  readonly id: number;
  /** When nobody waits for the answer any more, by the monotonic clock, milliseconds. */
  readonly dueMs: number;
  readonly once: boolean;
  readonly key: string;
  readonly survey: boolean;
  readonly maxAnswers: number;
  readonly oneWay: boolean;
}

/** Requests or answers in one batch. */
export const MAX_TERMS = 64;
/** A header that says nothing of requests. */
const MAX_PLAIN_HEADER_BYTES = 2048;

/** What the signature binds besides the content. */
export interface BatchTerms {
  readonly federation: string;
  readonly originOrg: string;
  readonly originGateway: string;
  readonly recipientOrg: string;
  readonly streamEpoch: bigint;
}

export const newStreamEpoch = (): bigint => randomBytes(8).readBigUInt64BE();

/** Signs a batch. ~40 µs for 64 KiB, which is why batches are signed and not records. */
export function sealBatch(
  batch: OutgoingBatch,
  terms: BatchTerms,
  sequence: number,
  key: KeyObject,
  nowMs: number,
): SealedBatch {
  const header = Buffer.from(
    BatchHeader.encode({
      // Field by field, here and wherever it is done for each message: docs/decisions/0036-no-new-fields-behind-a-spread.md.
      federation: terms.federation,
      originOrg: terms.originOrg,
      originGateway: terms.originGateway,
      recipientOrg: terms.recipientOrg,
      streamEpoch: terms.streamEpoch,
      channel: batch.channel,
      senderNode: batch.senderNode,
      sequence: BigInt(sequence),
      recordCount: batch.records.count,
      contentSha256: sha256(batch.records.bytes),
      timeMs: BigInt(nowMs),
      patienceMs: batch.patienceMs,
      durable: false,
      expireTimeMs: 0n,
      notifyConsumed: false,
      requests: batch.requests?.map(termsOf) ?? [],
      replies: batch.replies ? [...batch.replies] : [],
    }).finish(),
  );
  return { header, signature: signDetached('batch', key, header), records: batch.records };
}

/**
 * Reads a batch that must come from the peer on this link, for us, next in sequence. Throws FRAME_MALFORMED, SIGNATURE_INVALID,
 * IDENTITY_MISMATCH, WRONG_RECIPIENT, REPLAYED, FRAME_UNEXPECTED. All but the first say that the peer is broken or lies: the link ends.
 */
export function openBatch(sealed: SealedBatch, terms: BatchTerms, sequence: number, key: KeyObject): BatchHeader {
  if (sealed.withheld !== undefined) throw malformed('a live batch without records');
  const header = openHeader(sealed, terms, key);
  if (header.durable) throw new FedgateError('REPLAYED', 'a batch of a durable stream on the mail lane');
  checkTerms(header);
  checkSequence(header, terms.streamEpoch, sequence);
  checkContent(header, sealed, terms);
  return header;
}

/** Who a batch comes from and is for; its place and content are yet to be judged. Throws as `openBatch`. */
export function openHeader(sealed: SealedBatch, terms: Omit<BatchTerms, 'streamEpoch'>, key: KeyObject): BatchHeader {
  const header = decodeHeader(sealed.header);
  if (!verifyDetached('batch', key, sealed.header, sealed.signature)) {
    throw new FedgateError('SIGNATURE_INVALID', `the signature of a batch from ${terms.originOrg} does not hold`);
  }
  const plain = header.requests.length === 0 && header.replies.length === 0;
  if (plain && sealed.header.length > MAX_PLAIN_HEADER_BYTES)
    throw tooLarge(`the header of the batch has more than ${MAX_PLAIN_HEADER_BYTES} bytes`);
  if (!plain && header.durable) throw malformed('a durable batch of requests');
  if (header.federation !== terms.federation)
    throw new FedgateError('FEDERATION_MISMATCH', 'the batch is of another federation');
  if (header.originOrg !== terms.originOrg || header.originGateway !== terms.originGateway) {
    throw mismatch(
      `a batch from ${terms.originOrg}/${terms.originGateway} claims to be from ${header.originOrg}/${header.originGateway}`,
    );
  }
  if (header.recipientOrg !== terms.recipientOrg) {
    throw new FedgateError(
      'WRONG_RECIPIENT',
      `a batch for ${header.recipientOrg} came to ${terms.recipientOrg}; gateways do not relay`,
    );
  }
  return header;
}

/** Whether the records are those that were signed. Throws SIGNATURE_INVALID. */
export function checkContent(
  header: BatchHeader,
  { records }: SealedBatch,
  { originOrg }: { originOrg: string },
): void {
  if (header.recordCount === records.count && sha256(records.bytes).equals(header.contentSha256)) return;
  throw new FedgateError(
    'SIGNATURE_INVALID',
    `the records of a batch from ${originOrg} are not those that were signed`,
  );
}

function decodeHeader(bytes: Buffer): BatchHeader {
  try {
    return BatchHeader.decode(bytes);
  } catch {
    throw malformed('the header of the batch');
  }
}

/** Epochs are drawn per link, so a batch captured on one link is refused on every other, and twice on its own. */
function checkSequence(header: BatchHeader, epoch: bigint, sequence: number): void {
  if (header.streamEpoch !== epoch || header.sequence < BigInt(sequence)) {
    throw new FedgateError('REPLAYED', `batch ${header.sequence} came again (${sequence} is next)`);
  }
  if (header.sequence > BigInt(sequence)) {
    throw new FedgateError('FRAME_UNEXPECTED', `batch ${header.sequence} came where ${sequence} is next`);
  }
}

/** The time that is left is counted from now on by whoever receives it. */
const termsOf = ({ id, dueMs, once, key, survey, maxAnswers, oneWay }: OutgoingRequest) => ({
  id: BigInt(id),
  timeoutMs: Math.max(1, Math.ceil(dueMs - performance.now())),
  once,
  idempotencyKey: key,
  survey,
  maxAnswers,
  oneWay,
});

/** One for each record, of one kind. */
function checkTerms({ requests, replies, recordCount }: BatchHeader): void {
  const count = requests.length + replies.length;
  if (count === 0) return;
  if (requests.length > 0 && replies.length > 0) throw malformed('a batch of requests and answers');
  if (count !== recordCount || count > MAX_TERMS)
    throw malformed(`a batch of ${recordCount} records with ${count} terms`);
}

const mismatch = (what: string): FedgateError => new FedgateError('IDENTITY_MISMATCH', what);
