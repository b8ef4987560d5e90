import { setTimeout as sleep } from 'node:timers/promises';
import { type Rate, type Spread, spread } from '../meter.js';

/** One request and its answer. */
export type Ask = () => Promise<void>;

export interface RateParams {
  readonly inFlight: number;
  readonly warmupMs: number;
  readonly ms: number;
}

/** How many are answered while so many are always in flight. */
export async function rateOf(ask: Ask, { inFlight, warmupMs, ms }: RateParams): Promise<Rate> {
  let answered = 0;
  let over = false;
  const asking = Array.from({ length: inFlight }, async () => {
    while (!over) {
      await ask();
      answered++;
    }
  });
  await Promise.race([sleep(warmupMs), Promise.all(asking)]);
  const from = { answered, time: performance.now() };
  await Promise.race([sleep(ms), Promise.all(asking)]);
  const rate = { messages: answered - from.answered, seconds: (performance.now() - from.time) / 1000 };
  over = true;
  await Promise.all(asking);
  return rate;
}

const WARMUP_CALLS = 500;

/** How the times lie of one at a time, milliseconds. */
export async function timesOf(ask: Ask, calls: number): Promise<Spread> {
  for (let i = 0; i < WARMUP_CALLS; i++) await ask();
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    const from = performance.now();
    await ask();
    times.push(performance.now() - from);
  }
  return spread(times);
}
