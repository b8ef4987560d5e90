import { parseArgs } from 'node:util';
import { RATE_OPTIONS, type RateOptions, rateOptions, rateUsage } from '../options.js';

export const SYSTEM_NAMES = ['relay', 'typed-relay', 'nats', 'fedgate'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

export type LiveOptions = RateOptions<SystemName>;

export const LIVE_USAGE = `npm run bench -- live ${rateUsage(SYSTEM_NAMES)}`;

/** Throws with a sentence for the user. */
export const parseLiveOptions = (args: readonly string[]): LiveOptions =>
  rateOptions(parseArgs({ args: [...args], options: RATE_OPTIONS }).values, SYSTEM_NAMES);
