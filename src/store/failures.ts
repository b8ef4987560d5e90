import { getSystemErrorName } from 'node:util';
import { describe, FedgateError } from '../errors.js';

/** The name of the error as the operating system has it: Node gives that, LMDB the number. */
function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined;
  const { code } = error;
  if (typeof code === 'string') return code;
  return typeof code === 'number' && code > 0 ? getSystemErrorName(-code) : undefined;
}

/** Names what went wrong while the disk was written to: STORE_FULL, STORE_READ_ONLY, or STORE_FAILED for all else. */
export function storeFailure(error: unknown, what: string): FedgateError {
  if (error instanceof FedgateError) return error;
  const message = `${what}: ${describe(error)}`;
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new FedgateError('STORE_FULL', message, { cause: error, retryAfterMs: RETRY_MS });
    case 'EROFS':
      return new FedgateError('STORE_READ_ONLY', message, { cause: error, retryAfterMs: RETRY_MS });
    default:
      return new FedgateError('STORE_FAILED', message, { cause: error, retryAfterMs: RETRY_MS });
  }
}

/** How often a store that is not well looks whether it is again; what callers are told to wait. */
export const RETRY_MS = 1000;
