import { LogEntry } from '../../gen/ts/fedgate/approvals/v1/exchange.js';
import { FedgateError } from '../errors.js';
import { CHAIN_START, chainHash } from './log-chain.js';

/**
 * The log of a gateway as a file of JSON lines: one that says whose it is, then one for each entry, in order.
 *
 * ```
 * {"fedgate":"approval-log/v1","federation":"fed.example","org":"ACME","gateway":"gw"}
 * {"index":1,"entry":"<base64>","hash":"<base64>"}
 * ```
 */

const FORMAT = 'approval-log/v1';

/** Whose log it is, as whoever exported it says. */
export interface LogSource {
  readonly federation: string;
  readonly org: string;
  readonly gateway: string;
}

/** The fields of a ReadLogResponse. */
export interface LogLine {
  readonly index: number;
  readonly entry: Buffer;
  readonly hash: Buffer;
}

/** A log whose chain was checked from the first entry on. */
export interface ExportedLog {
  readonly source: LogSource;
  readonly entries: readonly ExportedEntry[];
}

export interface ExportedEntry extends LogLine {
  readonly read: LogEntry;
}

/** The first line, with its end. */
export const logHeader = ({ federation, org, gateway }: LogSource): string =>
  `${JSON.stringify({ fedgate: FORMAT, federation, org, gateway })}\n`;

/** The line of an entry, with its end. */
export const logLine = ({ index, entry, hash }: LogLine): string =>
  `${JSON.stringify({ index, entry: entry.toString('base64'), hash: hash.toString('base64') })}\n`;

/** Throws LOG_FORKED when the chain does not hold, FIELD_INVALID for a text that is no such file. */
export function parseLog(text: string): ExportedLog {
  const [first = '', ...lines] = text.split('\n').filter(line => line !== '');
  const source = parseHeader(first);
  const entries: ExportedEntry[] = [];
  let before = CHAIN_START;
  for (const line of lines) {
    const entry = parseLine(line, entries.length + 2);
    check(source, entry, entries.length + 1, before);
    entries.push({ ...entry, read: decode(source, entry) });
    before = entry.hash;
  }
  return { source, entries };
}

function parseHeader(line: string): LogSource {
  const { fedgate, federation, org, gateway } = parseJson(line, 1);
  const texts = [federation, org, gateway];
  if (fedgate !== FORMAT || !texts.every(text => typeof text === 'string')) {
    throw invalid(1, `it does not begin with a header of ${FORMAT}`);
  }
  return { federation: String(federation), org: String(org), gateway: String(gateway) };
}

function parseLine(line: string, number: number): LogLine {
  const { index, entry, hash } = parseJson(line, number);
  if (typeof index !== 'number' || typeof entry !== 'string' || typeof hash !== 'string') {
    throw invalid(number, 'index, entry or hash is missing');
  }
  return { index, entry: Buffer.from(entry, 'base64'), hash: Buffer.from(hash, 'base64') };
}

function parseJson(line: string, number: number): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw invalid(number, 'it is no JSON object');
}

function check({ org }: LogSource, { index, entry, hash }: LogLine, expected: number, before: Buffer): void {
  if (index !== expected) throw forked(org, `entry ${expected} is missing: ${index} stands in its place`);
  if (!chainHash(before, entry).equals(hash)) throw forked(org, `entry ${index} does not follow from those before it`);
}

function decode({ org }: LogSource, { index, entry }: LogLine): LogEntry {
  try {
    return LogEntry.decode(entry);
  } catch {
    throw forked(org, `entry ${index} is none`);
  }
}

const forked = (org: string, why: string): FedgateError =>
  new FedgateError('LOG_FORKED', `the log of ${org} does not hold together: ${why}`, { metadata: { org } });

const invalid = (line: number, why: string): FedgateError =>
  new FedgateError('FIELD_INVALID', `not an exported log of approvals: line ${line}: ${why}`, {
    fields: [{ field: `line ${line}`, description: why }],
  });
