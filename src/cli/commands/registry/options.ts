import type { RegistryAdminClient } from '../../../registry/admin-client.js';
import { openAdminClient } from '../../../registry/operator.js';

/** The option all registry commands share. */
export const DIR_OPTION = ['--dir <folder>', "the registry's folder", '.'] as const;

/** Runs with the operator's client of a folder, and closes it. */
export async function withAdmin<T>(folder: string, use: (admin: RegistryAdminClient) => Promise<T>): Promise<T> {
  const admin = await openAdminClient(folder);
  try {
    return await use(admin);
  } finally {
    admin.close();
  }
}
