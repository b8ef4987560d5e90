import { writeFile } from 'node:fs/promises';
import { environment } from '../environment.js';
import { spread } from '../meter.js';
import { divide, measureAll, progress, type System } from '../system.js';
import { measureUnaryRoundTrips } from '../unary.js';
import { measureBacklog } from './backlog.js';
import { fedgateSystem, measureSingles } from './fedgate.js';
import { createJetStreamSystem } from './jetstream.js';
import { measureMemory } from './memory.js';
import type { DurableOptions, SystemName } from './options.js';
import { durableRelaySystem } from './relay.js';
import { type DurableReport, formatReport, goals, type Latency } from './report.js';
import { measureSyncs } from './sync.js';

const LATENCY_PAYLOAD_BYTES = 128;
const LATENCY_CALLS = 500;
const GB = 1e9;

const SYSTEMS: readonly System<SystemName>[] = [
  durableRelaySystem,
  createJetStreamSystem('jetstream'),
  createJetStreamSystem('raw-jetstream'),
  fedgateSystem,
];

/** Compares durable delivery with its limit and with its best peer, all in one run. Prints tables and gives back what it found. */
export async function runDurable(options: DurableOptions): Promise<DurableReport> {
  const { only, parts } = options;
  const ours = only.includes('fedgate');
  const { present, skipped } = await divide(SYSTEMS.filter(({ name }) => only.includes(name)));
  const before = environment();
  const report: DurableReport = {
    environment: before,
    seconds: options.seconds,
    rates: parts.includes('rates') ? await measureAll(present, options) : [],
    skipped,
    ...(parts.includes('latency') && { latency: await measureLatency(ours) }),
    ...(parts.includes('backlog') && ours && { backlog: await measureBacklog(options.backlog) }),
    ...(parts.includes('memory') && ours && { memory: await watchMemory(options.long ? 10 * GB : GB) }),
  };
  console.log(`\n${formatReport(report)}`);
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify({ ...report, goals: goals(report) }, undefined, 2)}\n`);
  }
  return report;
}

async function measureLatency(ours: boolean): Promise<Latency> {
  progress('latency');
  return {
    unary: spread(await measureUnaryRoundTrips(LATENCY_PAYLOAD_BYTES, LATENCY_CALLS)),
    sync: spread(await measureSyncs(LATENCY_CALLS)),
    ...(ours && { received: spread(await measureSingles(LATENCY_PAYLOAD_BYTES, LATENCY_CALLS)) }),
  };
}

async function watchMemory(bytes: number): Promise<Awaited<ReturnType<typeof measureMemory>>> {
  progress(`memory: ${bytes / GB} GB`);
  return await measureMemory(bytes);
}
