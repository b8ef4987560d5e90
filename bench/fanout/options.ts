import { parseArgs } from 'node:util';
import { parseNames } from '../options.js';

export const SYSTEM_NAMES = ['bare', 'fedgate', 'fedgate-sdk'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

export interface FanoutOptions {
  /** How long each is measured, after its warm-up. */
  readonly seconds: number;
  /** How often each is measured, in turns; medians count. */
  readonly rounds: number;
  readonly only: readonly SystemName[];
  /** Open subscriptions, over all processes. */
  readonly subscribers: number;
  /** Processes that they are spread over. */
  readonly processes: number;
  /** Connections of each process; does not apply to the SDK, which has its own way. */
  readonly connections: number;
  /** Records in a batch, one measurement for each. */
  readonly batches: readonly number[];
  readonly payloadBytes: number;
  readonly json?: string;
}

export const FANOUT_USAGE = `npm run bench -- fanout [--seconds N] [--rounds N] [--only ${SYSTEM_NAMES.join(',')}] [--batches 10,100] [--subscribers 1000] [--processes 2] [--connections 1] [--payload 128] [--json FILE]`;

/** Throws with a sentence for the user. */
export function parseFanoutOptions(args: readonly string[]): FanoutOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string' },
      batches: { type: 'string', default: '10,100' },
      subscribers: { type: 'string', default: '1000' },
      processes: { type: 'string', default: '2' },
      connections: { type: 'string', default: '1' },
      payload: { type: 'string', default: '128' },
      json: { type: 'string' },
    },
  });
  const whole = (option: 'rounds' | 'subscribers' | 'processes' | 'connections', most: number): number => {
    const value = Number(values[option]);
    if (!(Number.isInteger(value) && value >= 1 && value <= most)) throw new Error(`--${option}: 1 to ${most}`);
    return value;
  };
  const seconds = Number(values.seconds);
  if (!(seconds >= 1)) throw new Error('--seconds: at least 1');
  const payloadBytes = Number(values.payload);
  if (!(payloadBytes >= 1 && payloadBytes <= 10_000)) throw new Error('--payload: 1 to 10000');
  const batches = values.batches.split(',').map(Number);
  if (!batches.every(batch => Number.isInteger(batch) && batch >= 1 && batch <= 1_000))
    throw new Error('--batches: numbers from 1 to 1000');
  return {
    seconds,
    rounds: whole('rounds', 1_000),
    only: values.only ? parseNames('--only', values.only, SYSTEM_NAMES) : SYSTEM_NAMES,
    // What a gateway allows a node, unless it is told otherwise.
    subscribers: whole('subscribers', 1_000),
    processes: whole('processes', 16),
    connections: whole('connections', 1_000),
    batches,
    payloadBytes,
    ...(values.json && { json: values.json }),
  };
}
