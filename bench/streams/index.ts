import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment, environmentLine } from '../environment.js';
import { type FedgateWorld, withFedgate } from '../files/fedgate-world.js';
import { writeRandomFile } from '../files/source.js';
import { MIB, measureTransfer, mibPerSecond, patienceMs, type Transfer } from '../files/transfer.js';
import { atLeast, type Goal, goalRow } from '../goals.js';
import { median } from '../meter.js';
import { progress } from '../system.js';
import { formatTable } from '../table.js';
import type { StreamsOptions } from './options.js';

/** A byte stream and a fetch of as many bytes, one after the other. */
interface Round {
  readonly stream: Transfer;
  readonly files: Transfer;
}

const ADDRESS = 'pubsub://GLOBEX/bench/bytes';

/**
 * Compares one byte stream across two organisations with the files lane, which carries the same bytes between the same gateways: a fetch that the
 * receiver throws away. They take turns in one world. Prints a table.
 */
export async function runStreams({ bytes, rounds: count, json }: StreamsOptions): Promise<void> {
  const before = environment();
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-streams-'));
  try {
    const rounds = await withFedgate(undefined, async world => {
      await world.receiver.call('acceptBytes', 'bench/bytes');
      await measureRound(world, folder, 16 * MIB);
      const measured: Round[] = [];
      for (let i = 1; i <= count; i++) {
        progress(`streams, round ${i}: ${bytes / MIB} MiB`);
        measured.push(await measureRound(world, folder, bytes));
      }
      return measured;
    });
    console.log(`\n${formatReport(environmentLine(before), rounds)}`);
    if (json !== undefined) {
      await writeFile(json, `${JSON.stringify({ environment: before, rounds, goals: goals(rounds) }, undefined, 2)}\n`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureRound(world: FedgateWorld, folder: string, bytes: number): Promise<Round> {
  const { sender, gatewayA, gatewayB, receiver } = world;
  const workers = [sender, gatewayA, gatewayB, receiver] as const;
  const stream = await measureTransfer('byte stream', bytes, workers, async () => {
    const came = await sender.call('sendBytes', { address: ADDRESS, bytes }, patienceMs(bytes));
    if (came !== bytes) throw new Error(`${came} bytes came of ${bytes}`);
    return {};
  });
  // Another one each time: what a gateway has fetched it does not fetch again.
  const file = await writeRandomFile(join(folder, 'file'), bytes);
  const id = await sender.call('share', { path: file.path, org: 'GLOBEX' }, patienceMs(bytes));
  const files = await measureTransfer('files lane', bytes, workers, async () => {
    await receiver.call('drain', id, patienceMs(bytes));
    return {};
  });
  return { stream, files };
}

const rate = ({ bytes, seconds }: Transfer): number => mibPerSecond(bytes, seconds) ?? 0;
const cpu = ({ cpus }: Transfer): number => cpus.reduce((sum, each) => sum + each, 0);

/** Ratios are made within a round, and their median counts. */
const goals = (rounds: readonly Round[]): Goal[] => [
  atLeast(
    'one byte stream / files lane, rate',
    median(rounds.map(({ stream, files }) => rate(stream) / rate(files))),
    0.8,
  ),
  { what: 'CPU time / files lane', value: median(rounds.map(({ stream, files }) => cpu(stream) / cpu(files))) },
];

function formatReport(head: string, rounds: readonly Round[]): string {
  const row = (name: string, of: (round: Round) => Transfer): string[] => [
    name,
    median(rounds.map(round => rate(of(round)))).toFixed(1),
    median(rounds.map(round => (cpu(of(round)) / of(round).bytes) * 1024 * MIB)).toFixed(2),
    median(rounds.map(round => of(round).otherCpus)).toFixed(2),
    String(Math.max(...rounds.flatMap(round => of(round).peaksMb))),
  ];
  const table = [
    ['', 'MiB/s', 'CPU s/GiB', 'other CPUs', 'gateway peak MB'],
    row('byte stream', round => round.stream),
    row('files lane', round => round.files),
  ];
  return [head, formatTable(table), formatTable(goals(rounds).map(goalRow))].join('\n\n');
}
