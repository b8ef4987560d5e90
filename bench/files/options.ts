import { parseArgs } from 'node:util';
import { parseNames } from '../options.js';

export const SYSTEM_NAMES = ['relay', 'nats', 'nats-native', 'fedgate'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

export interface FilesOptions {
  /** Bytes of the file that goes through every system. */
  readonly sizeBytes: number;
  readonly only: readonly SystemName[];
  /** How often it goes through each; the median counts. */
  readonly runs: number;
  /** Round trip of a line between the gateways over which fedgate is measured too, once for each that may dial, milliseconds. */
  readonly roundTripMs?: number;
  /** How many fetches there are at once in a further transfer of fedgate. */
  readonly fetches?: number;
  /** Bytes of a file of zeros in a further transfer of fedgate. */
  readonly sparseBytes?: number;
  /** Where to write the results as JSON. */
  readonly json?: string;
}

export const FILES_USAGE = `npm run bench -- files [--size 1G] [--only ${SYSTEM_NAMES.join(',')}] [--runs N] [--rtt MS] [--fetches N] [--sparse 20G] [--json FILE]`;

/** Throws with a sentence for the user. */
export function parseFilesOptions(args: readonly string[]): FilesOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string', default: '1G' },
      only: { type: 'string' },
      runs: { type: 'string', default: '1' },
      rtt: { type: 'string' },
      fetches: { type: 'string' },
      sparse: { type: 'string' },
      json: { type: 'string' },
    },
  });
  return {
    sizeBytes: parseBytes('--size', values.size),
    only: values.only ? parseNames('--only', values.only, SYSTEM_NAMES) : SYSTEM_NAMES,
    runs: parseCount('--runs', values.runs),
    ...(values.rtt && { roundTripMs: parseCount('--rtt', values.rtt) }),
    ...(values.fetches && { fetches: parseCount('--fetches', values.fetches) }),
    ...(values.sparse && { sparseBytes: parseBytes('--sparse', values.sparse) }),
    ...(values.json && { json: values.json }),
  };
}

export interface LatencyOptions {
  /** How long messages are measured alone, and beside a transfer, all rounds together. */
  readonly seconds: number;
  /** What the line between the gateways lets through in each direction, megabits per second. */
  readonly mbit: number;
  readonly json?: string;
}

export const LATENCY_USAGE = 'npm run bench -- files-latency [--seconds 16] [--mbit 100] [--json FILE]';

/** Throws with a sentence for the user. */
export function parseLatencyOptions(args: readonly string[]): LatencyOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '16' },
      mbit: { type: 'string', default: '100' },
      json: { type: 'string' },
    },
  });
  return {
    seconds: parseCount('--seconds', values.seconds),
    mbit: parseCount('--mbit', values.mbit),
    ...(values.json && { json: values.json }),
  };
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

function parseBytes(option: string, text: string): number {
  const [, count, unit] = /^(\d+)([KMG]?)$/.exec(text) ?? [];
  const bytes = Number(count) * (UNITS[unit ?? ''] ?? Number.NaN);
  if (!(bytes > 0)) throw new Error(`${option}: expected bytes, such as 32M or 1G`);
  return bytes;
}

function parseCount(option: string, text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) throw new Error(`${option}: expected a whole number from 1 on`);
  return count;
}
