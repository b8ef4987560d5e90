import { describe, FedgateError } from '../errors.js';

const errnoOf = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  // LMDB gives the operating system's words and no code.
  if (error.message.includes('No space left on device') || error.message.includes('quota exceeded')) return 'ENOSPC';
  if (error.message.includes('Read-only file system')) return 'EROFS';
  return undefined;
};

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
