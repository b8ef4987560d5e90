import { writeFile } from 'node:fs/promises';
import { fedgateSystem, measureEndToEnd, measureStalledSubscriber } from './fedgate.js';
import { natsSystem } from './nats.js';
import type { LiveOptions } from './options.js';
import { createRelaySystem, measureUnaryRoundTrip } from './relay.js';
import { environment, formatReport, goals, type LiveReport } from './report.js';
import type { Measurement, System } from './system.js';

const LATENCY_PAYLOAD_BYTES = 128;
const LATENCY_CALLS = 2_000;

/** Compares live messaging with its limits and with its best peer, all in one run. Prints a table and gives back what it found. */
export async function runLive(options: LiveOptions): Promise<LiveReport> {
  const all = [await createRelaySystem('relay'), await createRelaySystem('typed-relay'), natsSystem, fedgateSystem];
  const systems = all.filter(({ name }) => options.only.includes(name));
  const { present, skipped } = await divide(systems);
  const before = environment();
  const rates: Measurement[] = [];
  // Payload by payload, so that systems that are compared run next to each other in time.
  for (const payloadBytes of options.payloads) {
    for (const system of present) {
      progress(`${system.name} ${payloadBytes} B`);
      rates.push(await system.measure(payloadBytes, options.seconds));
    }
  }
  const report: LiveReport = {
    environment: before,
    seconds: options.seconds,
    rates,
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
  const unaryMs = await measureUnaryRoundTrip(LATENCY_PAYLOAD_BYTES, LATENCY_CALLS);
  if (!only.includes('fedgate')) return { latency: { unaryMs } };
  const endToEndMs = await measureEndToEnd(LATENCY_PAYLOAD_BYTES, LATENCY_CALLS);
  progress('memory');
  return { latency: { unaryMs, endToEndMs }, memory: await measureStalledSubscriber() };
}

async function divide(systems: readonly System[]): Promise<{ present: System[]; skipped: LiveReport['skipped'] }> {
  const asked = await Promise.all(systems.map(async system => ({ system, why: await system.unavailable() })));
  return {
    present: asked.filter(({ why }) => why === undefined).map(({ system }) => system),
    skipped: asked.flatMap(({ system, why }) => (why === undefined ? [] : [{ system: system.name, why }])),
  };
}

const progress = (what: string): void => console.error(`… ${what}`);
