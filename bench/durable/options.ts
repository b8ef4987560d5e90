import { parseArgs } from 'node:util';
import { parseNames, RATE_OPTIONS, type RateOptions, rateOptions, rateUsage } from '../options.js';

export const SYSTEM_NAMES = ['relay', 'jetstream', 'raw-jetstream', 'fedgate'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

/** What is measured. All but `rates` is about fedgate alone. */
export const PARTS = ['rates', 'latency', 'backlog', 'memory'] as const;
export type Part = (typeof PARTS)[number];
/** Those that take seconds. */
const SHORT_PARTS: readonly Part[] = ['rates', 'latency'];

export interface DurableOptions extends RateOptions<SystemName> {
  readonly parts: readonly Part[];
  /** Records that wait for a peer that is away. */
  readonly backlog: number;
  /** Whether memory is watched for 10 GB instead of 1 GB. */
  readonly long: boolean;
}

const PARTS_DEFAULT = SHORT_PARTS.join(',');

export const DURABLE_USAGE = `npm run bench -- durable ${rateUsage(SYSTEM_NAMES)} [--parts ${PARTS.join(',')}] [--backlog RECORDS] [--long]`;

/** Throws with a sentence for the user. */
export function parseDurableOptions(args: readonly string[]): DurableOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...RATE_OPTIONS,
      parts: { type: 'string', default: PARTS_DEFAULT },
      backlog: { type: 'string', default: '1000000' },
      long: { type: 'boolean', default: false },
    },
  });
  const backlog = Number(values.backlog);
  if (!Number.isSafeInteger(backlog) || backlog < 1) throw new Error('--backlog: expected how many records');
  return {
    ...rateOptions(values, SYSTEM_NAMES),
    parts: parseNames('--parts', values.parts, PARTS),
    backlog,
    long: values.long,
  };
}
