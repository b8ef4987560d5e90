import { hash } from 'node:crypto';

/** The SHA-256 of what is there as a whole; in one call, which leaves no object of its own to be collected. */
export const sha256 = (bytes: Uint8Array | string): Buffer => hash('sha256', bytes, 'buffer');
