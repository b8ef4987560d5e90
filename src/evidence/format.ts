import { FedgateError } from '../errors.js';

/**
 * The lines of an evidence file (docs/evidence.md). Each is one JSON object with the fields of its kind, in this order, and nothing
 * else: a line has one form only, so that no byte of the file can be changed without anybody noticing.
 */
export type EvidenceLine =
  | {
      readonly kind: 'evidence';
      /** 1 had no lines of what could not be read; files of both are verified. */
      readonly version: 1 | 2;
      readonly federation: string;
      /** Whose gateway made the file. */
      readonly org: string;
      readonly made_ms: number;
    }
  | { readonly kind: 'certificate'; readonly sha256: string; readonly der: string }
  | {
      readonly kind: 'batch';
      readonly direction: 'sent' | 'received';
      readonly header: string;
      readonly signature: string;
      /** SHA-256 of the certificate. */
      readonly certificate: string;
      /** Null: they were left out, or are not there any more. */
      readonly records: string | null;
    }
  | { readonly kind: 'receipt'; readonly body: string; readonly signature: string; readonly certificate: string }
  /** What should stand here and could not be read by the gateway that made the file: its row in the store is not what was written. */
  | {
      readonly kind: 'unreadable';
      readonly what: 'batch' | 'receipt';
      readonly direction: 'sent' | 'received';
      /** The other organisation. Empty: not known any more. */
      readonly org: string;
      /** The epoch of the stream, decimal. Empty: not known any more. */
      readonly epoch: string;
      /** The batch, or the last one of the receipt, in its stream; without an epoch the offset in the log of the receiver. */
      readonly number: number;
    }
  | {
      readonly kind: 'end';
      readonly certificates: number;
      readonly batches: number;
      readonly receipts: number;
      /** SHA-256 of all bytes before this line. */
      readonly sha256: string;
    };

type Kind = EvidenceLine['kind'];
type Of<K extends Kind> = Extract<EvidenceLine, { kind: K }>;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const DIGEST = /^[0-9a-f]{64}$/;
const EPOCH = /^(?:[1-9][0-9]{0,19})?$/;

type Check = (value: unknown) => boolean;
const text: Check = value => typeof value === 'string';
const bytes: Check = value => typeof value === 'string' && BASE64.test(value);
const digest: Check = value => typeof value === 'string' && DIGEST.test(value);
const count: Check = value => Number.isSafeInteger(value) && (value as number) >= 0;
const direction: Check = value => value === 'sent' || value === 'received';

const FIELDS: { readonly [K in Kind]: { readonly [F in Exclude<keyof Of<K>, 'kind'>]: Check } } = {
  evidence: { version: value => value === 1 || value === 2, federation: text, org: text, made_ms: count },
  certificate: { sha256: digest, der: bytes },
  batch: {
    direction,
    header: bytes,
    signature: bytes,
    certificate: digest,
    records: value => value === null || bytes(value),
  },
  receipt: { body: bytes, signature: bytes, certificate: digest },
  unreadable: {
    what: value => value === 'batch' || value === 'receipt',
    direction,
    org: text,
    epoch: value => typeof value === 'string' && EPOCH.test(value),
    number: count,
  },
  end: { certificates: count, batches: count, receipts: count, sha256: digest },
};

export const formatLine = (line: EvidenceLine): string => `${JSON.stringify(line)}\n`;

/** Reads a line without its end. Throws EVIDENCE_INVALID naming the number of the line. */
export function parseLine(line: string, number: number): EvidenceLine {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw invalid(number, 'it is not JSON', cause);
  }
  const kind = value?.kind;
  if (typeof kind !== 'string' || !Object.hasOwn(FIELDS, kind)) throw invalid(number, 'it is of no known kind');
  const fields = Object.entries(FIELDS[kind as Kind]);
  const read: Record<string, unknown> = { kind };
  for (const [name, check] of fields) {
    if (!check(value[name])) throw invalid(number, `its ${name} is not what it should be`);
    read[name] = value[name];
  }
  if (JSON.stringify(read) !== line) throw invalid(number, 'it is not in the one form that a line has');
  return read as unknown as EvidenceLine;
}

export function invalid(line: number, what: string, cause?: unknown): FedgateError {
  return new FedgateError('EVIDENCE_INVALID', `line ${line}: ${what}`, { cause, metadata: { line: String(line) } });
}
