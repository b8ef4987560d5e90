import { parseArgs } from 'node:util';

export interface TopicsOptions {
  /** How long the rate is measured in each round, after its warm-up. */
  readonly seconds: number;
  /** How often; medians count. */
  readonly rounds: number;
  readonly payloadBytes: number;
  readonly json?: string;
}

export const TOPICS_USAGE = 'npm run bench -- topics [--seconds N] [--rounds N] [--payload 128] [--json FILE]';

/** Throws with a sentence for the user. */
export function parseTopicsOptions(args: readonly string[]): TopicsOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '3' },
      payload: { type: 'string', default: '128' },
      json: { type: 'string' },
    },
  });
  const seconds = Number(values.seconds);
  const rounds = Number(values.rounds);
  const payloadBytes = Number(values.payload);
  if (!(seconds >= 1)) throw new Error('--seconds: at least 1');
  if (!(Number.isInteger(rounds) && rounds >= 1)) throw new Error('--rounds: a whole number from 1 on');
  if (!(payloadBytes >= 0 && payloadBytes <= 100_000)) throw new Error('--payload: at most 100000');
  return { seconds, rounds, payloadBytes, ...(values.json && { json: values.json }) };
}
