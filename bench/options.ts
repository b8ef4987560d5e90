/** What the subjects of the benchmark have in common on the command line. Every function throws with a sentence for the user. */
export interface RateOptions<Name extends string> {
  /** How long each rate is measured after its warm-up. */
  readonly seconds: number;
  readonly only: readonly Name[];
  /** Payload sizes to measure, bytes. */
  readonly payloads: readonly number[];
  /** Where to write the results as JSON. */
  readonly json?: string;
}

/** For `parseArgs`. */
export const RATE_OPTIONS = {
  seconds: { type: 'string', default: '4' },
  only: { type: 'string' },
  payloads: { type: 'string', default: '128,1024,65536' },
  json: { type: 'string' },
} as const;

export const rateUsage = (names: readonly string[]): string =>
  `[--seconds N] [--only ${names.join(',')}] [--payloads 128,1024,65536] [--json FILE]`;

interface RateValues {
  readonly seconds: string;
  readonly only?: string | undefined;
  readonly payloads: string;
  readonly json?: string | undefined;
}

export function rateOptions<Name extends string>(values: RateValues, names: readonly Name[]): RateOptions<Name> {
  const seconds = Number(values.seconds);
  if (!(seconds >= 3)) throw new Error('--seconds: at least 3; shorter runs measure the warm-up');
  return {
    seconds,
    only: values.only ? parseNames('--only', values.only, names) : names,
    payloads: values.payloads.split(',').map(Number),
    ...(values.json && { json: values.json }),
  };
}

export function parseNames<Name extends string>(option: string, text: string, names: readonly Name[]): Name[] {
  return text.split(',').map(name => {
    const known = names.find(each => each === name);
    if (!known) throw new Error(`${option}: ${name} is none of ${names.join(', ')}`);
    return known;
  });
}
