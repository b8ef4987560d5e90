import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FedgateError } from '../../../errors.js';
import { orgFolder, readMembership } from '../../../identity/org-folder.js';

/** The option of the commands that work on the folder itself. */
export const DIR_OPTION = ['--dir <folder>', "the organisation's folder, made by `fedgate org join`"] as const;

/** Where the store of an organisation is. Throws FILE_UNUSABLE when it has none, or the folder is not that of an organisation. */
export async function storeIn(folder: string): Promise<string> {
  const path = await storePlace(folder);
  if (!existsSync(path))
    throw new FedgateError(
      'FILE_UNUSABLE',
      `${path}: there is no store; the gateway makes it when it is first started`,
    );
  return path;
}

/** Where the store of an organisation is, or would be. Throws FILE_UNUSABLE when the folder is not that of an organisation. */
export async function storePlace(folder: string): Promise<string> {
  await readMembership(folder);
  return orgFolder(folder).store;
}

/** Bytes of all files in a folder. What a gateway removes meanwhile does not count. */
export async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  let bytes = 0;
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const stats = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += stats?.size ?? 0;
  }
  return bytes;
}

/** For operations that only stop between two steps. */
export const interrupted = (): FedgateError => new FedgateError('CANCELLED', 'interrupted; nothing was changed');
