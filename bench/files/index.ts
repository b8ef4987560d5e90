import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment } from '../environment.js';
import { divide, progress } from '../system.js';
import { fedgateSystem, transferFiles, transferSparse } from './fedgate.js';
import { createObjectStoreCarrier } from './object-store.js';
import type { FilesOptions, SystemName } from './options.js';
import { relaySystem } from './relay.js';
import { type FilesReport, formatReport, goals } from './report.js';
import { type SourceFile, writeRandomFile, writeSparseFile } from './source.js';
import { type FileCarrier, MIB, type Transfer } from './transfer.js';

/** Sent through every system first, so that its connections are open and its hot code is compiled. */
const WARMUP_BYTES = 16 * MIB;

const SYSTEMS: readonly FileCarrier<SystemName>[] = [
  relaySystem,
  createObjectStoreCarrier('nats'),
  createObjectStoreCarrier('nats-native'),
  fedgateSystem,
];

/** Compares the transfer of one file with its limit and with its best peer, all in one run. Prints tables and gives back what it found. */
export async function runFiles(options: FilesOptions): Promise<FilesReport> {
  const { present, skipped } = await divide(SYSTEMS.filter(({ name }) => options.only.includes(name)));
  const before = environment();
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-files-'));
  try {
    const bench = new FilesBench(folder, await writeRandomFile(join(folder, 'warmup'), WARMUP_BYTES));
    const { sizeBytes, roundTripMs, fetches, sparseBytes } = options;
    const report: FilesReport = {
      environment: before,
      transfers: await bench.measureSystems(present, options),
      skipped,
      ...(roundTripMs !== undefined && { far: await bench.measureFar(roundTripMs, sizeBytes) }),
      ...(fetches !== undefined && { many: await bench.measureMany(fetches, sizeBytes) }),
      ...(sparseBytes !== undefined && { sparse: await bench.measureSparse(sparseBytes) }),
    };
    console.log(`\n${formatReport(report)}`);
    if (options.json !== undefined) {
      await writeFile(options.json, `${JSON.stringify({ ...report, goals: goals(report) }, undefined, 2)}\n`);
    }
    return report;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** An even number of runs has two in the middle: the slower. */
function medianRun(runs: readonly Transfer[]): Transfer[] {
  const sorted = [...runs].sort((a, b) => a.seconds - b.seconds);
  return sorted.slice(Math.floor(sorted.length / 2)).slice(0, 1);
}

class FilesBench {
  readonly #folder: string;
  readonly #warmup: SourceFile;

  constructor(folder: string, warmup: SourceFile) {
    this.#folder = folder;
    this.#warmup = warmup;
  }

  /** Run by run, so that systems that are compared run next to each other in time. The median run of each. */
  async measureSystems(
    systems: readonly FileCarrier<SystemName>[],
    { sizeBytes, runs }: Pick<FilesOptions, 'sizeBytes' | 'runs'>,
  ): Promise<Transfer[]> {
    const [file] = await this.#files(1, sizeBytes);
    const transfers: Transfer[] = [];
    for (let run = 0; run < runs; run++) {
      for (const system of systems) {
        progress(`${system.name}: ${sizeBytes / MIB} MiB`);
        transfers.push(await system.transfer({ warmup: this.#warmup, file }, this.#folder));
      }
    }
    return systems.flatMap(({ name }) => medianRun(transfers.filter(each => each.name === name)));
  }

  /** Once with the holder's gateway dialling, once with the asker's. */
  async measureFar(roundTripMs: number, bytes: number): Promise<Transfer[]> {
    const transfers: Transfer[] = [];
    for (const dialler of ['asker', 'holder'] as const) {
      const name = `fedgate, ${roundTripMs} ms, ${dialler} dials`;
      progress(name);
      const route = { dialler, quality: { roundTripMs } };
      transfers.push(await transferFiles(name, { ...this.#common, files: await this.#files(1, bytes), route }));
    }
    return transfers;
  }

  /** As many files, together as large as the one. */
  async measureMany(count: number, bytes: number): Promise<Transfer> {
    const name = `fedgate, ${count} at once`;
    progress(name);
    const files = await this.#files(count, Math.ceil(bytes / count));
    return await transferFiles(name, { ...this.#common, files });
  }

  async measureSparse(bytes: number): Promise<Transfer> {
    const name = 'fedgate, sparse';
    progress(`${name}: ${bytes / MIB} MiB`);
    const file = await writeSparseFile(join(this.#folder, 'sparse'), bytes);
    return await transferSparse(name, { ...this.#common, file });
  }

  get #common() {
    return { warmup: this.#warmup, folder: this.#folder };
  }

  async #files(count: number, bytes: number): Promise<[SourceFile, ...SourceFile[]]> {
    const write = (i: number): Promise<SourceFile> => writeRandomFile(join(this.#folder, `file-${i}`), bytes);
    const files: [SourceFile, ...SourceFile[]] = [await write(0)];
    for (let i = 1; i < count; i++) files.push(await write(i));
    return files;
  }
}
