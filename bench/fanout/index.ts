import { writeFile } from 'node:fs/promises';
import { environment } from '../environment.js';
import { busySeconds, cpuSeconds, progress } from '../system.js';
import type { FanoutOptions, SystemName } from './options.js';
import { type Fanout, type FanoutReport, formatReport, goals } from './report.js';
import { type FanoutWorld, startWorld } from './worlds.js';

/** Everything is open before that, and compiled after it. */
const WARMUP_MS = 2_000;

/**
 * How many deliveries a second one gateway makes to many subscribers, beside a bare hub. They take turns. Prints a table and gives back
 * what it found.
 */
export async function runFanout(options: FanoutOptions): Promise<FanoutReport> {
  const before = environment();
  const found: Fanout[] = [];
  for (const batch of options.batches) {
    for (let round = 1; round <= options.rounds; round++) {
      for (const system of options.only) {
        progress(`fanout, batches of ${batch}, round ${round}: ${system}`);
        found.push(await measure(system, batch, options));
      }
    }
  }
  const { seconds, subscribers, processes, connections, payloadBytes } = options;
  const report: FanoutReport = {
    environment: before,
    ...{ seconds, subscribers, processes, connections, payloadBytes, found },
  };
  console.log(`\n${formatReport(report)}`);
  if (options.json !== undefined)
    await writeFile(options.json, `${JSON.stringify({ ...report, goals: goals(report) }, undefined, 2)}\n`);
  return report;
}

async function measure(system: SystemName, batch: number, options: FanoutOptions): Promise<Fanout> {
  const world = await startWorld(system, { ...options, batch });
  try {
    await count(world, WARMUP_MS);
    const busyBefore = busySeconds();
    const cpuBefore = await cpuOf(world);
    const from = performance.now();
    const { deliveries, perSecond } = await count(world, options.seconds * 1000);
    const cpu = (await cpuOf(world)).map((used, i) => used - (cpuBefore[i] ?? 0));
    const elapsed = (performance.now() - from) / 1000;
    const own = cpu.reduce((sum, each) => sum + each, 0);
    const [hub = 0, publisher = 0, ...subscribers] = cpu;
    const micros = (seconds: number): number => (seconds * 1e6) / deliveries;
    return {
      system,
      batch,
      deliveriesPerSecond: perSecond,
      hubMicros: micros(hub),
      hubCpus: hub / elapsed,
      publisherCpus: publisher / elapsed,
      subscriberCpus: subscribers.reduce((sum, each) => sum + each, 0) / elapsed,
      otherCpus: Math.max(0, (busySeconds() - busyBefore - own) / elapsed),
      hubPeakMb: Math.round((await world.hub.call('peakRss', undefined)) / 1024 ** 2),
    };
  } finally {
    await world[Symbol.asyncDispose]();
  }
}

const cpuOf = ({ hub, publisher, subscribers }: FanoutWorld): Promise<number[]> =>
  cpuSeconds([hub, publisher, ...subscribers]);

async function count({ subscribers }: FanoutWorld, ms: number): Promise<{ deliveries: number; perSecond: number }> {
  const rates = await Promise.all(subscribers.map(each => each.call('measure', { warmupMs: 0, ms })));
  return {
    deliveries: rates.reduce((sum, { messages }) => sum + messages, 0),
    perSecond: rates.reduce((sum, { messages, seconds }) => sum + messages / seconds, 0),
  };
}
