import { describe, FedgateError } from '../../errors.js';
import type { Envelope, EnvelopeSignature } from '../types.js';
import { decodeBase64 } from './base64.js';
import { isJsonArray, isJsonObject, type Json, type JsonObject, parseStrictJson } from './json.js';
import { MAX_KEYS_PER_ORG, MAX_ORGS } from './rules.js';
import { MAX_STATEMENT_BYTES } from './statement.js';

/** The longest JSON of one envelope or bundle: a statement and two signatures for each key that it may name, in base64. */
export const MAX_ENVELOPE_BYTES = 1024 * 1024;
/** Ours have 64 to 72 bytes. */
const MAX_SIGNATURE_BYTES = 1_024;
const MAX_SIGNATURES = 2 * MAX_ORGS * MAX_KEYS_PER_ORG;
const MAX_KEY_ID_BYTES = 1_024;

/** The JSON form of DSSE, in one line, without its end. */
export const envelopeToJson = (envelope: Envelope): string => JSON.stringify(envelopeObject(envelope));

export const envelopeObject = ({ payloadType, payload, signatures }: Envelope) => ({
  payload: payload.toString('base64'),
  payloadType,
  signatures: signatures.map(({ keyId, signature }) => ({
    ...(keyId === '' ? {} : { keyid: keyId }),
    sig: signature.toString('base64'),
  })),
});

/**
 * Reads the JSON form of a DSSE envelope, from whoever wrote it: in any order, with fields that are not known here, as DSSE wants it; but JSON
 * that has one meaning, and base64 that has one. Throws BUNDLE_INVALID. Nothing is said about what is signed.
 */
export function parseEnvelope(input: string | Uint8Array): Envelope {
  return readEnvelope(parseBundleJson(input));
}

/** Throws BUNDLE_INVALID. */
export function parseBundleJson(input: string | Uint8Array): Json {
  if (Buffer.byteLength(input) > MAX_ENVELOPE_BYTES) throw invalid(`it is longer than ${MAX_ENVELOPE_BYTES} bytes`);
  try {
    return parseStrictJson(input);
  } catch (cause) {
    throw invalid(describe(cause), cause);
  }
}

/** The envelope in JSON that was read. Throws BUNDLE_INVALID. */
export function readEnvelope(json: Json | undefined): Envelope {
  if (!isJsonObject(json)) throw invalid('it is no DSSE envelope');
  const payloadType = text(json, 'payloadType', MAX_KEY_ID_BYTES);
  const payload = bytes(json, 'payload', MAX_STATEMENT_BYTES);
  const list = json.get('signatures');
  if (!isJsonArray(list) || list.length === 0) throw invalid('it has no signatures');
  if (list.length > MAX_SIGNATURES) throw invalid(`it has more than ${MAX_SIGNATURES} signatures`);
  return { payloadType, payload, signatures: list.map(readSignature) };
}

function readSignature(json: Json): EnvelopeSignature {
  if (!isJsonObject(json)) throw invalid('a signature in it is no object');
  const keyId = json.has('keyid') ? text(json, 'keyid', MAX_KEY_ID_BYTES) : '';
  return { keyId, signature: bytes(json, 'sig', MAX_SIGNATURE_BYTES) };
}

function text(json: JsonObject, name: string, most: number): string {
  const value = json.get(name);
  if (typeof value !== 'string') throw invalid(`its ${name} is not text`);
  if (value.length > most) throw invalid(`its ${name} is longer than ${most} characters`);
  return value;
}

function bytes(json: JsonObject, name: string, most: number): Buffer {
  const value = json.get(name);
  const read = typeof value === 'string' ? decodeBase64(value) : undefined;
  if (!read || read.length === 0) throw invalid(`its ${name} is not base64`);
  if (read.length > most) throw invalid(`its ${name} is longer than ${most} bytes`);
  return read;
}

const invalid = (what: string, cause?: unknown): FedgateError =>
  new FedgateError('BUNDLE_INVALID', `not a bundle of signatures: ${what}`, cause === undefined ? {} : { cause });
