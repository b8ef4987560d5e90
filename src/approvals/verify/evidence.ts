import { FedgateError } from '../../errors.js';
import { SIGSTORE_BUNDLE_TYPE } from '../bundle.js';
import { parseBundleJson, readEnvelope } from '../statement/envelope.js';
import { decodeUtf8, isJsonObject, type Json } from '../statement/json.js';
import { parseStatement } from '../statement/statement.js';
import { type Envelope, PAYLOAD_TYPE, type ProposalFacts } from '../types.js';

/** A bundle in one of the three forms. */
export interface BundleInput {
  /** For messages: the name of the file. */
  readonly name: string;
  readonly content: string | Uint8Array;
}

/** What all bundles together say. */
export interface Evidence {
  readonly statement: Buffer;
  readonly proposal: ProposalFacts;
  /** Each once, in the order in which they were found. */
  readonly signatures: readonly FoundSignature[];
}

export interface FoundSignature {
  readonly signature: Buffer;
  /** Which key it is said to be by. May lie, or be empty. */
  readonly hint: string;
  /** The bundles that hold it. */
  readonly sources: readonly string[];
}

/** The largest bundle, all of its lines together. */
export const MAX_BUNDLE_BYTES = 16 * 1024 * 1024;
/** The most envelopes of all bundles together. */
const MAX_ENVELOPES = 4_096;

/**
 * Reads bundles of one approval. Throws BUNDLE_INVALID for one that is none, for a payload of another type, and unless all of them are about
 * the same bytes; STATEMENT_INVALID when these are no approval.
 */
export function readEvidence(bundles: readonly BundleInput[]): Evidence {
  const found = new Map<string, FoundSignature>();
  let payload: Buffer | undefined;
  let envelopes = 0;
  for (const { name, content } of bundles) {
    for (const envelope of readEnvelopes(name, content)) {
      if (++envelopes > MAX_ENVELOPES) throw invalid(`${name}: there are more than ${MAX_ENVELOPES} envelopes`);
      payload ??= envelope.payload;
      if (!payload.equals(envelope.payload)) {
        throw invalid(`${name}: it is about something else than what stands before it: parts of different proposals`);
      }
      addSignatures(found, envelope, name);
    }
  }
  if (!payload) throw invalid('there is none');
  const statement = parseStatement(payload);
  if (statement.kind !== 'approval') throw invalid(`it holds a ${statement.kind}, not an approval`);
  checkCount(found.size, statement.proposal);
  return { statement: payload, proposal: statement.proposal, signatures: [...found.values()] };
}

/** An honest approval has one signature of each key at most. */
function checkCount(count: number, { approvers }: ProposalFacts): void {
  const most = 2 * approvers.reduce((sum, { keyIds }) => sum + keyIds.length, 0);
  if (count > most) throw invalid(`it has ${count} signatures; for the keys that the proposal names ${most} are read`);
}

function addSignatures(found: Map<string, FoundSignature>, { signatures }: Envelope, source: string): void {
  for (const { signature, keyId } of signatures) {
    const id = signature.toString('base64');
    const earlier = found.get(id);
    found.set(id, {
      signature,
      hint: earlier?.hint || keyId,
      sources: [...(earlier?.sources ?? []), source],
    });
  }
}

function readEnvelopes(name: string, content: string | Uint8Array): readonly Envelope[] {
  if (Buffer.byteLength(content) > MAX_BUNDLE_BYTES)
    throw invalid(`${name}: it is longer than ${MAX_BUNDLE_BYTES} bytes`);
  try {
    return documentsOf(typeof content === 'string' ? content : decodeUtf8(content)).map(text =>
      readDocument(parseBundleJson(text)),
    );
  } catch (error) {
    if (error instanceof FedgateError)
      throw new FedgateError(error.reason, `${name}: ${error.message}`, { cause: error });
    throw invalid(`${name}: ${String((error as Error).message)}`);
  }
}

/** JSON lines have an object on each line; one document has at least a first line that is none. */
function documentsOf(text: string): readonly string[] {
  const lines = text.split('\n').filter(line => line.trim() !== '');
  return lines.length > 1 && lines.every(line => /^\{.*\}\s*$/.test(line)) ? lines : [text];
}

function readDocument(json: Json): Envelope {
  const isBundle = isJsonObject(json) && (json.has('mediaType') || json.has('dsseEnvelope'));
  const envelope = isBundle ? readSigstoreBundle(json) : readEnvelope(json);
  // Part of what is signed, so another type would not verify; said here, where it can be said clearly.
  if (envelope.payloadType !== PAYLOAD_TYPE) throw invalid(`its payload is not of type ${PAYLOAD_TYPE}`);
  return envelope;
}

/** Logs and timestamps in it are not looked at: nothing here depends on them. */
function readSigstoreBundle(json: ReadonlyMap<string, Json>): Envelope {
  if (json.get('mediaType') !== SIGSTORE_BUNDLE_TYPE)
    throw invalid('it is a Sigstore bundle of another version than v0.3');
  const material = json.get('verificationMaterial');
  const publicKey = isJsonObject(material) ? material.get('publicKey') : undefined;
  if (!isJsonObject(publicKey)) throw invalid('it is a Sigstore bundle that was not signed with a key of its own');
  const envelope = readEnvelope(json.get('dsseEnvelope'));
  const [signature, ...more] = envelope.signatures;
  if (!signature || more.length > 0) throw invalid('it is a Sigstore bundle with more than one signature');
  const hint = publicKey.get('hint');
  const keyId = signature.keyId || (typeof hint === 'string' ? hint : '');
  return { ...envelope, signatures: [{ ...signature, keyId }] };
}

const invalid = (what: string): FedgateError =>
  new FedgateError('BUNDLE_INVALID', `not a bundle of approvals: ${what}`);
