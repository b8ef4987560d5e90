import { writeFile } from 'node:fs/promises';
import { environment } from '../environment.js';
import { median } from '../meter.js';
import { divide, measureAll, progress } from '../system.js';
import { measureUnaryRoundTrips } from '../unary.js';
import { fedgateSystem, measureEndToEnd, measureStalledSubscriber } from './fedgate.js';
import { natsSystem } from './nats.js';
import type { LiveOptions } from './options.js';
import { createRelaySystem } from './relay.js';
import { formatReport, goals, type LiveReport } from './report.js';

const LATENCY_PAYLOAD_BYTES = 128;
const LATENCY_CALLS = 2_000;

/** Compares live messaging with its limits and with its best peer, all in one run. Prints a table and gives back what it found. */
export async function runLive(options: LiveOptions): Promise<LiveReport> {
  const all = [await createRelaySystem('relay'), await createRelaySystem('typed-relay'), natsSystem, fedgateSystem];
  const { present, skipped } = await divide(all.filter(({ name }) => options.only.includes(name)));
  const before = environment();
  const report: LiveReport = {
    environment: before,
    seconds: options.seconds,
    rates: await measureAll(present, options),
    skipped,
    ...(await others(options)),
  };
  console.log(`\n${formatReport(report)}`);
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify({ ...report, goals: goals(report) }, undefined, 2)}\n`);
  }
  return report;
}

/** What is measured besides rates. */
async function others({ only }: LiveOptions): Promise<Pick<LiveReport, 'latency' | 'memory'>> {
  progress('latency');
  const unaryMs = median(await measureUnaryRoundTrips(LATENCY_PAYLOAD_BYTES, LATENCY_CALLS));
  if (!only.includes('fedgate')) return { latency: { unaryMs } };
  const endToEndMs = await measureEndToEnd(LATENCY_PAYLOAD_BYTES, LATENCY_CALLS);
  progress('memory');
  return { latency: { unaryMs, endToEndMs }, memory: await measureStalledSubscriber() };
}
