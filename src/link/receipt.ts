import type { KeyObject } from 'node:crypto';
import { type Receipt, ReceiptBody } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { StreamPosition, VerifiedReceipt } from '../durable/types.js';
import { FedgateError } from '../errors.js';
import { signDetached, verifyDetached } from '../identity/signing.js';
import type { Identity } from '../identity/verify.js';
import { sha256 } from '../sha256.js';
import { fromRpcStatus, toRpcStatus } from '../transport/status.js';
import { malformed } from '../wire/reader.js';

/** The most batches that one receipt covers: ~9 KiB of digests. */
export const MAX_RECEIPT_BATCHES = 256;
/** The longest message of a peer's refusal that is kept and handed on. */
const MAX_REFUSAL_CHARACTERS = 500;

/** Whose stream it is and who received it. */
export interface ReceiptTerms {
  readonly federation: string;
  readonly recipientOrg: string;
  readonly recipientGateway: string;
  readonly originOrg: string;
  readonly originGateway: string;
}

/** A batch as a receipt speaks of it. Undefined digest: it was received and its header is no longer known. */
export interface Receipted {
  readonly headerSha256: Buffer | undefined;
  readonly refusal: FedgateError | undefined;
}

/** Signs that batches from `first` on are on stable storage. */
export function makeReceipt(
  terms: ReceiptTerms,
  { epoch, sequence: first }: StreamPosition,
  batches: readonly Receipted[],
  key: KeyObject,
  nowMs: number,
): Receipt {
  const body = ReceiptBody.encode({
    federation: terms.federation,
    recipientOrg: terms.recipientOrg,
    recipientGateway: terms.recipientGateway,
    originOrg: terms.originOrg,
    originGateway: terms.originGateway,
    streamEpoch: epoch,
    firstSequence: BigInt(first),
    lastSequence: BigInt(first + batches.length - 1),
    headerSha256: batches.map(({ headerSha256 }) => headerSha256 ?? Buffer.alloc(0)),
    refusals: batches.flatMap(({ refusal }, i) =>
      refusal ? [{ sequence: BigInt(first + i), error: toRpcStatus(refusal) }] : [],
    ),
    timeMs: BigInt(nowMs),
  }).finish();
  return { body, signature: signDetached('receipt', key, body) };
}

/** Reads a receipt that must be of the peer, for our stream. Throws FRAME_MALFORMED, SIGNATURE_INVALID, RECEIPT_INVALID. */
export function openReceipt(receipt: Receipt, terms: ReceiptTerms, peer: Identity): VerifiedReceipt {
  const body = decodeBody(receipt.body);
  if (!verifyDetached('receipt', peer.publicKey, receipt.body, receipt.signature))
    throw new FedgateError('SIGNATURE_INVALID', `the signature of a receipt from ${peer.org} does not hold`);
  for (const field of ['federation', 'recipientOrg', 'recipientGateway', 'originOrg', 'originGateway'] as const) {
    if (body[field] !== terms[field]) throw invalid(`it is not for a stream between these gateways: ${field}`);
  }
  const first = Number(body.firstSequence);
  const last = Number(body.lastSequence);
  const count = last - first + 1;
  if (!Number.isSafeInteger(last) || first < 1 || count < 1 || count > MAX_RECEIPT_BATCHES)
    throw invalid(`it covers ${first} to ${last}`);
  if (body.headerSha256.length !== count || body.headerSha256.some(({ length }) => length !== 32 && length !== 0))
    throw invalid('it does not have one digest for each batch');
  return {
    epoch: body.streamEpoch,
    first,
    last,
    headerSha256: body.headerSha256,
    refusals: refusalsOf(body, first, last, peer.org),
    body: Buffer.from(receipt.body),
    signature: Buffer.from(receipt.signature),
    certificate: certificateOf(peer),
  };
}

/** A peer chooses what it refuses with; it must not choose how much of our disk that fills, nor blame a defect of ours. */
function refusalsOf(body: ReceiptBody, first: number, last: number, org: string): VerifiedReceipt['refusals'] {
  const seen = new Set<bigint>();
  return body.refusals.map(({ sequence, error }) => {
    if (!error || sequence < BigInt(first) || sequence > BigInt(last) || seen.has(sequence))
      throw invalid('a refusal of a batch that it does not cover, or twice');
    seen.add(sequence);
    const { reason, message } = fromRpcStatus(error);
    const cut = message.length > MAX_REFUSAL_CHARACTERS ? `${message.slice(0, MAX_REFUSAL_CHARACTERS)}…` : message;
    const told = reason === 'INTERNAL' ? `${org} failed: ${cut}` : cut;
    const known = reason === 'INTERNAL' ? 'DEAD_LETTERED' : reason;
    return { sequence: Number(sequence), error: new FedgateError(known, told, { metadata: { org } }) };
  });
}

/** Parsed and hashed once per link, not per receipt. */
const certificates = new WeakMap<Identity, VerifiedReceipt['certificate']>();

export function certificateOf(peer: Identity): VerifiedReceipt['certificate'] {
  let known = certificates.get(peer);
  if (!known) {
    known = { sha256: sha256(peer.certificate), der: peer.certificate };
    certificates.set(peer, known);
  }
  return known;
}

function decodeBody(bytes: Uint8Array): ReceiptBody {
  try {
    return ReceiptBody.decode(bytes);
  } catch {
    throw malformed('the body of the receipt');
  }
}

const invalid = (why: string): FedgateError =>
  new FedgateError('RECEIPT_INVALID', `a receipt that does not fit: ${why}`);
