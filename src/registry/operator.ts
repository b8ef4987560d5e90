import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { FedgateError } from '../errors.js';
import { readCertificate } from '../identity/files.js';
import { RegistryAdminClient } from './admin-client.js';
import { readRegistryConfig } from './server/config.js';
import { readPairIn, registryFolder } from './server/folder.js';

const runSchema = z.object({ address: z.string(), adminAddress: z.string(), pid: z.int() });

/** Where a running registry listens. */
export type RunInfo = z.infer<typeof runSchema>;

/** What a running registry wrote about itself. Undefined: none runs in this folder. */
export async function readRunInfo(folder: string): Promise<RunInfo | undefined> {
  try {
    return runSchema.parse(JSON.parse(await readFile(registryFolder(folder).run, 'utf8')));
  } catch {
    return undefined;
  }
}

/**
 * Speaks to the registry of a folder with the operator's certificate in it. The caller closes the client.
 *
 * Throws FILE_UNUSABLE, CONFIG_INVALID, or REGISTRY_UNREACHABLE when it does not run.
 */
export async function openAdminClient(folder: string): Promise<RegistryAdminClient> {
  const paths = registryFolder(folder);
  const { federation } = await readRegistryConfig(paths.config);
  const run = await readRunInfo(folder);
  if (!run) {
    throw new FedgateError(
      'REGISTRY_UNREACHABLE',
      `the registry of ${folder} is not running; start it with: fedgate registry serve --dir ${folder}`,
    );
  }
  const [certificate, identity] = await Promise.all([
    readCertificate(`${paths.tls}/tls.crt`),
    readPairIn(paths.operator),
  ]);
  return new RegistryAdminClient({ federation, addresses: [run.adminAddress], certificate, identity });
}
