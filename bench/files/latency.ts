import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Environment, environment, environmentLine } from '../environment.js';
import { atMost, type Goal, goalRow } from '../goals.js';
import { median, type Spread, spread } from '../meter.js';
import type { ProbeMethods, ProbeParams } from '../probe-worker.js';
import { progress } from '../system.js';
import { formatTable } from '../table.js';
import { type CommonMethods, Worker } from '../worker.js';
import { type FedgateWorld, withFedgate } from './fedgate-world.js';
import type { LatencyOptions } from './options.js';
import { writeRandomFile } from './source.js';
import { patienceMs, timed } from './transfer.js';

/** What messages take on a narrow line, alone and beside a file that fills it. */
export interface LatencyReport {
  readonly environment: Environment;
  readonly seconds: number;
  readonly mbit: number;
  readonly alone: Spread;
  readonly beside: Spread;
  /** What the transfer had of the line meanwhile, megabits of content per second. */
  readonly transferMbit: number;
}

const PER_SECOND = 1_000;
const PAYLOAD_BYTES = 128;
const WARMUP_MS = 2_000;
/** Alone and beside take turns, so that what else happens on the machine meets both. */
const ROUNDS = 4;
/** What is published in the first moment of a round waits for the publisher's connection. It is not counted. */
const OPENING_MS = 500;
/** From the beginning of a transfer until messages are measured. */
const SETTLE_MS = 500;
/** How much longer than the measurement a transfer is to last. */
const LONGER = 1.5;
const P99_TIMES = 1.5;

export async function runLatency(options: LatencyOptions): Promise<LatencyReport> {
  const before = environment();
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-files-'));
  try {
    const quality = { bytesPerSecond: (options.mbit * 1e6) / 8 };
    const found = await withFedgate({ dialler: 'holder', quality }, world => measure(world, options, folder));
    const { seconds, mbit } = options;
    const report: LatencyReport = { environment: before, seconds, mbit, ...found };
    console.log(`\n${formatReport(report)}`);
    if (options.json !== undefined) {
      await writeFile(options.json, `${JSON.stringify({ ...report, goals: goals(report) }, undefined, 2)}\n`);
    }
    return report;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(
  world: FedgateWorld,
  { seconds, mbit }: LatencyOptions,
  folder: string,
): Promise<Pick<LatencyReport, 'alone' | 'beside' | 'transferMbit'>> {
  await using probe = new Worker<ProbeMethods & CommonMethods>('probe', new URL('../probe-worker.js', import.meta.url));
  const live: ProbeParams = {
    from: world.acme,
    to: world.globex,
    channel: 'bench/live',
    address: 'pubsub://GLOBEX/bench/live',
    payloadBytes: PAYLOAD_BYTES,
    perSecond: PER_SECOND,
  };
  const probed = async (ms: number): Promise<number[]> => {
    await probe.call('begin', live);
    await sleep(OPENING_MS + ms);
    return (await probe.call('endWithTimes', undefined)).slice((PER_SECOND * OPENING_MS) / 1000);
  };
  await probed(WARMUP_MS);
  const [alone, beside, transfers]: [number[], number[], number[]] = [[], [], []];
  const roundMs = (seconds * 1000) / ROUNDS;
  for (let round = 0; round < ROUNDS; round++) {
    progress(`messages alone, then beside a transfer: ${round + 1} of ${ROUNDS}`);
    alone.push(...(await probed(roundMs)));
    const transfer = await beginTransfer(
      world,
      ((mbit * 1e6) / 8 / 1000) * (SETTLE_MS + OPENING_MS + roundMs) * LONGER,
      folder,
    );
    await sleep(SETTLE_MS);
    beside.push(...(await probed(roundMs)));
    if (transfer.over) throw new Error('the transfer was over before the messages were measured');
    transfers.push(await transfer.bytesPerSecond);
  }
  return { alone: spread(alone), beside: spread(beside), transferMbit: (median(transfers) * 8) / 1e6 };
}

interface RunningTransfer {
  readonly over: boolean;
  readonly bytesPerSecond: Promise<number>;
}

/** A file that was not there before, so that all of it has to come through the line. */
async function beginTransfer(
  { sender, receiver }: FedgateWorld,
  size: number,
  folder: string,
): Promise<RunningTransfer> {
  const bytes = Math.ceil(size);
  const { path } = await writeRandomFile(join(folder, 'file'), bytes);
  const id = await sender.call('share', { path, org: 'GLOBEX' }, patienceMs(bytes));
  let over = false;
  const seconds = timed(receiver.call('fetch', { ids: [id], folder }, patienceMs(bytes))).finally(() => {
    over = true;
  });
  return {
    get over() {
      return over;
    },
    bytesPerSecond: seconds.then(each => bytes / each),
  };
}

const goals = ({ alone, beside }: LatencyReport): Goal[] => [
  atMost('p99 beside a transfer / alone', beside.p99 / alone.p99, P99_TIMES),
];

const formatReport = (report: LatencyReport): string =>
  [
    environmentLine(report.environment, report.seconds),
    formatTable([
      [`${PER_SECOND} messages/s of ${PAYLOAD_BYTES} B, ${report.mbit} Mbit/s, ms`, 'messages', 'p50', 'p99'],
      spreadRow('alone', report.alone),
      spreadRow(`beside a transfer at ${report.transferMbit.toFixed(0)} Mbit/s`, report.beside),
    ]),
    formatTable(goals(report).map(goalRow)),
  ].join('\n\n');

const spreadRow = (what: string, { measurements, p50, p99 }: Spread): string[] => [
  what,
  String(measurements),
  p50.toFixed(2),
  p99.toFixed(2),
];
