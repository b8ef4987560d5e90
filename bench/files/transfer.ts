import { join } from 'node:path';
import { type AnyWorker, busySeconds, type Candidate, cpuSeconds } from '../system.js';
import type { SourceFile } from './source.js';

/** A file that went from a node of one organisation to a node of another. */
export interface Transfer {
  readonly name: string;
  /** Of all files that went. */
  readonly bytes: number;
  /** Until the first gateway has it, and from there to the receiver; undefined where both happen at once. */
  readonly inSeconds?: number;
  readonly outSeconds?: number;
  readonly seconds: number;
  /** CPU time of sender, first gateway, second gateway and receiver, seconds. */
  readonly cpus: readonly number[];
  /** CPU time of everything else on the machine, seconds per second. Much above 0: the times say little. */
  readonly otherCpus: number;
  /** The highest resident sets of the two gateways since they started, MB. */
  readonly peaksMb: readonly number[];
}

/** Something that carries files from a node of one organisation to a node of another. */
export interface FileCarrier<Name extends string> extends Candidate<Name> {
  /** Starts everything in `folder`, sends `warmup`, then `file` and measures, ends everything. */
  transfer(files: { readonly warmup: SourceFile; readonly file: SourceFile }, folder: string): Promise<Transfer>;
}

/** Far below what is expected of the slowest machine, bytes per millisecond. */
const SLOWEST = 4_000;
export const patienceMs = (bytes: number): number => 60_000 + bytes / SLOWEST;

export const MIB = 1024 * 1024;
export const mibPerSecond = (bytes: number, seconds: number | undefined): number | undefined =>
  seconds === undefined ? undefined : bytes / MIB / seconds;

/** `workers`: sender, first gateway, second gateway, receiver. `run` says how long each half took if there are halves. */
export async function measureTransfer(
  name: string,
  bytes: number,
  workers: readonly [AnyWorker, AnyWorker, AnyWorker, AnyWorker],
  run: () => Promise<{ readonly inSeconds?: number; readonly outSeconds?: number }>,
): Promise<Transfer> {
  const busyBefore = busySeconds();
  const cpuBefore = await cpuSeconds(workers);
  const from = performance.now();
  const halves = await run();
  const seconds = (performance.now() - from) / 1000;
  const cpus = (await cpuSeconds(workers)).map((used, i) => used - (cpuBefore[i] ?? 0));
  const own = cpus.reduce((sum, each) => sum + each, 0);
  const otherCpus = Math.max(0, (busySeconds() - busyBefore - own) / seconds);
  const peaks = await Promise.all(workers.slice(1, 3).map(worker => worker.call('peakRss', undefined)));
  return { name, bytes, ...halves, seconds, cpus, otherCpus, peaksMb: peaks.map(each => Math.round(each / MIB)) };
}

/** Seconds until a promise resolves. */
export async function timed(what: Promise<unknown>): Promise<number> {
  const from = performance.now();
  await what;
  return (performance.now() - from) / 1000;
}

/** Where a fetched file is written, by its number. */
export const fetchedFile = (folder: string, number: number): string => join(folder, `fetched-${number}`);

/** Throws unless both digests are the file's. */
export function checkDigests(name: string, file: SourceFile, digests: readonly string[]): void {
  for (const digest of digests) if (digest !== file.sha256) throw new Error(`${name}: what arrived is another file`);
}
