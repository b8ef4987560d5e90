import { writeFile } from 'node:fs/promises';
import { environment } from '../environment.js';
import { progress } from '../system.js';
import type { RateParams } from './load.js';
import type { RequestsOptions } from './options.js';
import { formatReport, goals, type RequestRate, type RequestsReport, type Round } from './report.js';
import { type Asking, fedgateWorld, relayWorld, unaryWorld } from './worlds.js';

const IN_FLIGHT = 64;
const LATENCY_CALLS = 1_000;
const WARMUP_MS = 1_500;

/**
 * Compares requests across two organisations with a bare unary round trip and with a bare relay of the same hops. They take turns, so that
 * what else happens on the machine meets all. Prints a table and gives back what it found.
 */
export async function runRequests(options: RequestsOptions): Promise<RequestsReport> {
  const before = environment();
  const { payloadBytes, rounds: count } = options;
  const unary = await unaryWorld(payloadBytes);
  const relay = await relayWorld(payloadBytes);
  const fedgate = await fedgateWorld(payloadBytes);
  try {
    const rounds: Round[] = [];
    for (let i = 1; i <= count; i++) rounds.push(await measureRound(i, { unary, relay, fedgate }, options));
    const report: RequestsReport = { environment: before, seconds: options.seconds, payloadBytes, rounds };
    console.log(`\n${formatReport(report)}`);
    if (options.json !== undefined)
      await writeFile(options.json, `${JSON.stringify({ ...report, goals: goals(report) }, undefined, 2)}\n`);
    return report;
  } finally {
    for (const world of [fedgate, relay, unary]) await world[Symbol.asyncDispose]();
  }
}

type Worlds = Readonly<Record<'unary' | 'relay' | 'fedgate', Asking>>;

/** Rates first: they warm up what is then measured one at a time. */
async function measureRound(number: number, worlds: Worlds, { seconds }: RequestsOptions): Promise<Round> {
  progress(`requests, round ${number}: ${IN_FLIGHT} in flight`);
  const params = { inFlight: IN_FLIGHT, warmupMs: WARMUP_MS, ms: seconds * 1000 };
  const relay = await measureRate(worlds.relay, params);
  const fedgate = await measureRate(worlds.fedgate, params);
  await worlds.unary.rate(params);
  progress(`requests, round ${number}: one at a time`);
  return {
    relay,
    fedgate,
    unaryMs: await worlds.unary.times(LATENCY_CALLS),
    fedgateMs: await worlds.fedgate.times(LATENCY_CALLS),
    relayMs: await worlds.relay.times(LATENCY_CALLS),
  };
}

async function measureRate(world: Asking, params: RateParams): Promise<RequestRate> {
  const { inFlight, warmupMs, ms } = params;
  await world.rate({ inFlight, warmupMs: 0, ms: warmupMs });
  const from = await world.cpuSeconds();
  const { messages, seconds } = await world.rate({ inFlight, warmupMs: 0, ms });
  return { perSecond: messages / seconds, cpuMicros: ((await world.cpuSeconds()) - from) * (1e6 / messages) };
}
