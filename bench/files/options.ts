import { parseArgs } from 'node:util';
import { parseNames } from '../options.js';

export const SYSTEM_NAMES = ['relay', 'nats', 'fedgate'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

export interface FilesOptions {
  /** Bytes of the file that goes through every system. */
  readonly sizeBytes: number;
  readonly only: readonly SystemName[];
  /** Where to write the results as JSON. */
  readonly json?: string;
}

export const FILES_USAGE = `npm run bench -- files [--size 1G] [--only ${SYSTEM_NAMES.join(',')}] [--json FILE]`;

/** Throws with a sentence for the user. */
export function parseFilesOptions(args: readonly string[]): FilesOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string', default: '1G' },
      only: { type: 'string' },
      json: { type: 'string' },
    },
  });
  return {
    sizeBytes: parseBytes('--size', values.size),
    only: values.only ? parseNames('--only', values.only, SYSTEM_NAMES) : SYSTEM_NAMES,
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
