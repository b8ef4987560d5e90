import { cpus as systemCpus } from 'node:os';
import type { Rate } from '../meter.js';
import type { CommonMethods, Worker } from '../worker.js';

/** Something that carries messages from a publisher in one organisation to a subscriber in another. */
export interface System {
  readonly name: SystemName;
  /** Why it cannot be measured here; undefined: it can. */
  unavailable(): Promise<string | undefined>;
  /** Starts everything, measures one payload size, ends everything. */
  measure(payloadBytes: number, seconds: number): Promise<Measurement>;
}

export const SYSTEM_NAMES = ['relay', 'typed-relay', 'nats', 'fedgate'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

export interface Measurement {
  readonly system: SystemName;
  readonly payloadBytes: number;
  readonly messagesPerSecond: number;
  /** CPU time of publisher, first hop, second hop and subscriber, seconds per second measured. */
  readonly cpus: readonly number[];
  /** CPU time of everything else on the machine, seconds per second. Much above 0: the rate says little. */
  readonly otherCpus: number;
}

/** Subscribers count after this time, so that the optimising compiler and TCP are warm. */
const WARMUP_MS = 1_500;

interface Subscriber {
  measure(params: { warmupMs: number; ms: number }): Promise<Rate>;
}

/** Lets the subscriber count for `seconds`. `workers`: publisher, first hop, second hop, subscriber. */
export async function measureRate(
  system: SystemName,
  payloadBytes: number,
  seconds: number,
  subscriber: Subscriber,
  workers: readonly Worker<CommonMethods>[],
): Promise<Measurement> {
  await subscriber.measure({ warmupMs: WARMUP_MS, ms: 0 });
  const busyBefore = busySeconds();
  const cpuBefore = await cpuSeconds(workers);
  const from = performance.now();
  const rate = await subscriber.measure({ warmupMs: 0, ms: seconds * 1000 });
  const cpuAfter = await cpuSeconds(workers);
  const elapsed = (performance.now() - from) / 1000;
  const cpus = cpuAfter.map((used, i) => (used - (cpuBefore[i] ?? 0)) / elapsed);
  const own = cpus.reduce((sum, each) => sum + each, 0);
  const otherCpus = Math.max(0, (busySeconds() - busyBefore) / elapsed - own);
  return { system, payloadBytes, messagesPerSecond: rate.messages / rate.seconds, cpus, otherCpus };
}

const cpuSeconds = (workers: readonly Worker<CommonMethods>[]): Promise<number[]> =>
  Promise.all(workers.map(worker => worker.call('cpuSeconds', undefined)));

/** CPU time the machine has used, seconds. */
const busySeconds = (): number =>
  systemCpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000;
