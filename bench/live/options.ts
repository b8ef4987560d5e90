import { parseArgs } from 'node:util';
import { SYSTEM_NAMES, type SystemName } from './system.js';

export interface LiveOptions {
  /** How long each rate is measured after its warm-up. */
  readonly seconds: number;
  readonly only: readonly SystemName[];
  /** Payload sizes to measure, bytes. */
  readonly payloads: readonly number[];
  /** Where to write the results as JSON. */
  readonly json?: string;
}

export const LIVE_USAGE = `npm run bench -- live [--seconds N] [--only ${SYSTEM_NAMES.join(',')}] [--payloads 128,1024,65536] [--json FILE]`;

/** Throws with a sentence for the user. */
export function parseLiveOptions(args: readonly string[]): LiveOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '4' },
      only: { type: 'string' },
      payloads: { type: 'string', default: '128,1024,65536' },
      json: { type: 'string' },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds >= 3)) throw new Error('--seconds: at least 3; shorter runs measure the warm-up');
  return {
    seconds,
    only: values.only ? parseSystems(values.only) : SYSTEM_NAMES,
    payloads: values.payloads.split(',').map(Number),
    ...(values.json && { json: values.json }),
  };
}

function parseSystems(text: string): SystemName[] {
  return text.split(',').map(name => {
    const known = SYSTEM_NAMES.find(each => each === name);
    if (!known) throw new Error(`--only: ${name} is none of ${SYSTEM_NAMES.join(', ')}`);
    return known;
  });
}
