import { cpus as systemCpus } from 'node:os';
import type { Rate } from './meter.js';
import type { CommonMethods, Worker } from './worker.js';

/** Something to be compared with others. */
export interface Candidate<Name extends string> {
  readonly name: Name;
  /** Why it cannot be measured here; undefined: it can. */
  unavailable(): Promise<string | undefined>;
}

/** Something that carries messages from a publisher in one organisation to a subscriber in another. */
export interface System<Name extends string> extends Candidate<Name> {
  /** Starts everything, measures one payload size, ends everything. */
  measure(payloadBytes: number, seconds: number): Promise<Measurement<Name>>;
}

export interface Measurement<Name extends string> {
  readonly system: Name;
  readonly payloadBytes: number;
  readonly messagesPerSecond: number;
  /** CPU time of publisher, first hop, second hop and subscriber, seconds per second measured. */
  readonly cpus: readonly number[];
  /** Resident set of the two hops at the end, MB. */
  readonly hopsMb: readonly number[];
  /** CPU time of everything else on the machine, seconds per second. Much above 0: the rate says little. */
  readonly otherCpus: number;
}

export interface Skipped<Name extends string> {
  readonly system: Name;
  readonly why: string;
}

/** Subscribers count after this time, so that the optimising compiler and TCP are warm. */
const WARMUP_MS = 1_500;

interface Subscriber {
  measure(params: { warmupMs: number; ms: number }): Promise<Rate>;
}

export type AnyWorker = Worker<CommonMethods>;

/** Lets the subscriber count for `seconds`. `workers`: publisher, first hop, second hop, subscriber. */
export async function measureRate<Name extends string>(
  system: Name,
  payloadBytes: number,
  seconds: number,
  subscriber: Subscriber,
  workers: readonly [AnyWorker, AnyWorker, AnyWorker, AnyWorker],
): Promise<Measurement<Name>> {
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
  const hopsMb = await Promise.all(workers.slice(1, 3).map(rssMb));
  return { system, payloadBytes, messagesPerSecond: rate.messages / rate.seconds, cpus, hopsMb, otherCpus };
}

/** Resident set of a worker, MB. */
export const rssMb = async (worker: AnyWorker): Promise<number> =>
  Math.round((await worker.call('rss', undefined)) / 1024 ** 2);

export const cpuSeconds = (workers: readonly AnyWorker[]): Promise<number[]> =>
  Promise.all(workers.map(worker => worker.call('cpuSeconds', undefined)));

/** CPU time the machine has used, seconds. */
export const busySeconds = (): number =>
  systemCpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) / 1000;

/** Those that can be measured here, and why the others cannot. */
export async function divide<Name extends string, C extends Candidate<Name>>(
  systems: readonly (C & Candidate<Name>)[],
): Promise<{ present: C[]; skipped: Skipped<Name>[] }> {
  const asked = await Promise.all(systems.map(async system => ({ system, why: await system.unavailable() })));
  return {
    present: asked.filter(({ why }) => why === undefined).map(({ system }) => system),
    skipped: asked.flatMap(({ system, why }) => (why === undefined ? [] : [{ system: system.name, why }])),
  };
}

/** Measures payload by payload, so that systems that are compared run next to each other in time. */
export async function measureAll<Name extends string>(
  systems: readonly System<Name>[],
  { payloads, seconds }: { readonly payloads: readonly number[]; readonly seconds: number },
): Promise<Measurement<Name>[]> {
  const rates: Measurement<Name>[] = [];
  for (const payloadBytes of payloads) {
    for (const system of systems) {
      progress(`${system.name} ${payloadBytes} B`);
      rates.push(await system.measure(payloadBytes, seconds));
    }
  }
  return rates;
}

export const progress = (what: string): void => console.error(`… ${what}`);
