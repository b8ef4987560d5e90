import { rm } from 'node:fs/promises';
import { type FedgateWorld, type Route, withFedgate } from './fedgate-world.js';
import { hashFile, type SizedFile, type SourceFile } from './source.js';
import {
  checkDigests,
  type FileCarrier,
  fetchedFile,
  measureTransfer,
  patienceMs,
  type Transfer,
  timed,
} from './transfer.js';

/** Sender → gateway of ACME, then from there → gateway of GLOBEX → receiver: four processes. */
export const fedgateSystem: FileCarrier<'fedgate'> = {
  name: 'fedgate',
  unavailable: async () => undefined,
  transfer: ({ warmup, file }, folder) => transferFiles('fedgate', { warmup, files: [file], folder }),
};

export interface FedgateTransfer {
  readonly warmup: SourceFile;
  /** Shared one after the other, fetched all at once. */
  readonly files: readonly SourceFile[];
  readonly folder: string;
  readonly route?: Route;
}

/** What is fetched is verified and synced by the SDK; that it is what was sent is seen to afterwards. */
export async function transferFiles(
  name: string,
  { warmup, files, folder, route }: FedgateTransfer,
): Promise<Transfer> {
  return await withFedgate(route, async world => {
    await fetchAll(world, folder, await shareAll(world, [warmup]), [warmup]);
    const transfer = await measureHalves(name, world, files, ids => fetchAll(world, folder, ids, files));
    for (const [i, file] of files.entries()) {
      checkDigests(name, file, [await hashFile(fetchedFile(folder, i))]);
      await rm(fetchedFile(folder, i));
    }
    return transfer;
  });
}

/** A file so large that the receiver throws it away: for the memory of the gateways. */
export async function transferSparse(
  name: string,
  { warmup, file, folder }: { warmup: SourceFile; file: SizedFile; folder: string },
): Promise<Transfer> {
  return await withFedgate(undefined, async world => {
    await fetchAll(world, folder, await shareAll(world, [warmup]), [warmup]);
    return await measureHalves(name, world, [file], async ([id = '']) => {
      const bytes = await world.receiver.call('drain', id, patienceMs(file.bytes));
      if (bytes !== file.bytes) throw new Error(`${name}: ${bytes} bytes came`);
    });
  });
}

function measureHalves(
  name: string,
  world: FedgateWorld,
  files: readonly SizedFile[],
  get: (ids: readonly string[]) => Promise<void>,
): Promise<Transfer> {
  const { sender, gatewayA, gatewayB, receiver } = world;
  return measureTransfer(name, totalBytes(files), [sender, gatewayA, gatewayB, receiver], async () => {
    const from = performance.now();
    const ids = await shareAll(world, files);
    const inSeconds = (performance.now() - from) / 1000;
    return { inSeconds, outSeconds: await timed(get(ids)) };
  });
}

const totalBytes = (files: readonly SizedFile[]): number => files.reduce((sum, { bytes }) => sum + bytes, 0);

async function shareAll({ sender }: FedgateWorld, files: readonly SizedFile[]): Promise<string[]> {
  const ids: string[] = [];
  for (const { path, bytes } of files) {
    ids.push(await sender.call('share', { path, org: 'GLOBEX' }, patienceMs(bytes)));
  }
  return ids;
}

const fetchAll = (
  { receiver }: FedgateWorld,
  folder: string,
  ids: readonly string[],
  files: readonly SizedFile[],
): Promise<void> => receiver.call('fetch', { ids, folder }, patienceMs(totalBytes(files)));
