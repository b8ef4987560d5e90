import { writeFile } from 'node:fs/promises';
import { environment, environmentLine } from '../environment.js';
import { median, type Spread } from '../meter.js';
import { progress } from '../system.js';
import { formatTable, grouped } from '../table.js';
import type { TopicsOptions } from './options.js';
import { type SimulatedCost, simulate } from './simulated.js';
import { type TopicsWorld, topicsWorld } from './world.js';

/** What one round found. CPU times are of each gateway in the line: author, in between, reader's; microseconds. */
interface Round {
  readonly recordsPerSecond: number;
  readonly cpuPerRecord: readonly number[];
  readonly cpuPerPost: readonly number[];
  /** From program to program, one record at a time, milliseconds. */
  readonly delayMs: Spread;
}

const WARMUP_MS = 1_500;
const SINGLES = 500;
/** Links beyond those that a graph of 50 needs. */
const MORE_LINKS = 75;

/**
 * What a topic costs: frames and bytes for each message and member in a simulated federation of 50, rate and CPU time over three real gateways in
 * a line.
 */
export async function runTopics(options: TopicsOptions): Promise<void> {
  const at = environment();
  progress('topics: 50 simulated gateways');
  const simulated = [simulate(options.payloadBytes, MORE_LINKS), simulate(options.payloadBytes, undefined)];
  const world = await topicsWorld();
  const rounds: Round[] = [];
  try {
    const counted = { published: 0 };
    for (let i = 1; i <= options.rounds; i++) rounds.push(await measure(world, i, options, counted));
  } finally {
    await world[Symbol.asyncDispose]();
  }
  console.log(`\n${environmentLine(at, options.seconds)}\n\n${simulatedTable(simulated)}\n\n${roundsTable(rounds)}`);
  if (options.json !== undefined)
    await writeFile(options.json, `${JSON.stringify({ environment: at, simulated, rounds }, undefined, 2)}\n`);
}

async function measure(
  world: TopicsWorld,
  number: number,
  { seconds, payloadBytes }: TopicsOptions,
  counted: { published: number },
): Promise<Round> {
  const { publisher, reader } = world;
  const publish = async (how: 'flood' | 'single', params: { ms: number; count: number }): Promise<number> => {
    const all = { ...params, payloadBytes };
    const published = await publisher.call(how, all, TIMEOUT_MS);
    counted.published += published;
    await reader.call('received', counted.published, TIMEOUT_MS);
    return published;
  };
  progress(`topics, round ${number}: as fast as it goes`);
  await publish('flood', { ms: WARMUP_MS, count: 0 });
  const before = await cpu(world);
  const from = performance.now();
  const records = await publish('flood', { ms: seconds * 1000, count: 0 });
  const took = (performance.now() - from) / 1000;
  const after = await cpu(world);
  progress(`topics, round ${number}: one record at a time`);
  await reader.call('delays', undefined);
  const posts = await publish('single', { ms: 0, count: SINGLES });
  const end = await cpu(world);
  return {
    recordsPerSecond: records / took,
    cpuPerRecord: after.map((each, i) => ((each - (before[i] ?? 0)) * 1e6) / records),
    cpuPerPost: end.map((each, i) => ((each - (after[i] ?? 0)) * 1e6) / posts),
    delayMs: await reader.call('delays', undefined),
  };
}

const TIMEOUT_MS = 300_000;

const cpu = ({ gateways }: TopicsWorld): Promise<number[]> =>
  Promise.all(gateways.map(gateway => gateway.call('cpuSeconds', undefined)));

const simulatedTable = (costs: readonly SimulatedCost[]): string =>
  formatTable([
    ['for each message and member', 'posts', 'their bytes', 'other frames', 'their bytes'],
    ...costs.map(({ gateways, links, posts, postBytes, otherFrames, otherBytes }) => [
      `${gateways} gateways, ${links} links`,
      posts.toFixed(2),
      grouped(postBytes),
      otherFrames.toFixed(2),
      grouped(otherBytes),
    ]),
  ]);

function roundsTable(rounds: readonly Round[]): string {
  const medianOf = (of: (round: Round) => number): number => median(rounds.map(of));
  const each = (of: (round: Round) => readonly number[], digits: number): string[] =>
    [0, 1, 2].map(i => `${medianOf(round => of(round)[i] ?? 0).toFixed(digits)} µs`);
  return formatTable([
    ['three gateways in a line', 'author', 'in between', "reader's"],
    [
      `as fast as it goes: ${grouped(medianOf(r => r.recordsPerSecond))} records/s, CPU each`,
      ...each(r => r.cpuPerRecord, 1),
    ],
    ['one record at a time, CPU each', ...each(r => r.cpuPerPost, 0)],
    [
      `one record, program to program: p50 ${medianOf(r => r.delayMs.p50).toFixed(1)} ms, p99 ${medianOf(r => r.delayMs.p99).toFixed(1)} ms`,
      '',
      '',
      '',
    ],
  ]);
}
