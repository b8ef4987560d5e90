import { parseArgs } from 'node:util';

export interface StreamsOptions {
  /** Bytes of each transfer. */
  readonly bytes: number;
  /** How often each is measured, in turns; medians count. */
  readonly rounds: number;
  readonly json?: string;
}

export const STREAMS_USAGE = 'npm run bench -- streams [--mib 512] [--rounds N] [--json FILE]';

/** Throws with a sentence for the user. */
export function parseStreamsOptions(args: readonly string[]): StreamsOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mib: { type: 'string', default: '512' },
      rounds: { type: 'string', default: '3' },
      json: { type: 'string' },
    },
  });
  const [mib, rounds] = [Number(values.mib), Number(values.rounds)];
  if (!(Number.isInteger(mib) && mib >= 1)) throw new Error('--mib: a whole number from 1 on');
  if (!(Number.isInteger(rounds) && rounds >= 1)) throw new Error('--rounds: a whole number from 1 on');
  return { bytes: mib * 1024 * 1024, rounds, ...(values.json && { json: values.json }) };
}
