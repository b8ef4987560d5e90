import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment } from '../environment.js';
import { progress, type Skipped } from '../system.js';
import { objectStoreSystem } from './object-store.js';
import type { FilesOptions, SystemName } from './options.js';
import { relaySystem } from './relay.js';
import { type FilesReport, formatReport, goals } from './report.js';
import { writeRandomFile } from './source.js';
import { type FileSystem, MIB, type Transfer } from './transfer.js';

/** Sent through every system first, so that its connections are open and its hot code is compiled. */
const WARMUP_BYTES = 16 * MIB;

const SYSTEMS: readonly FileSystem<SystemName>[] = [relaySystem, objectStoreSystem];

/** Compares the transfer of one file with its limit and with its best peer, all in one run. Prints a table and gives back what it found. */
export async function runFiles(options: FilesOptions): Promise<FilesReport> {
  const before = environment();
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-files-'));
  try {
    const report: FilesReport = { environment: before, ...(await measureSystems(options, folder)) };
    console.log(`\n${formatReport(report)}`);
    if (options.json !== undefined) {
      await writeFile(options.json, `${JSON.stringify({ ...report, goals: goals(report) }, undefined, 2)}\n`);
    }
    return report;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureSystems(
  { only, sizeBytes }: FilesOptions,
  folder: string,
): Promise<Pick<FilesReport, 'transfers' | 'skipped'>> {
  const transfers: Transfer[] = [];
  const skipped: Skipped<SystemName>[] = [];
  const warmup = await writeRandomFile(join(folder, 'warmup'), WARMUP_BYTES);
  const file = await writeRandomFile(join(folder, 'file'), sizeBytes);
  for (const system of SYSTEMS.filter(({ name }) => only.includes(name))) {
    const why = await system.unavailable();
    if (why !== undefined) {
      skipped.push({ system: system.name, why });
      continue;
    }
    progress(`${system.name} ${sizeBytes / MIB} MiB`);
    transfers.push(await system.transfer({ warmup, file }, folder));
  }
  return { transfers, skipped };
}
