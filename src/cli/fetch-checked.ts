import type { FedgateClient, FetchedFile, SharedFile } from '../client/index.js';
import { FedgateError, quoted } from '../errors.js';
import { type ListedFile, MAX_LISTING_BYTES, orgOfShare, parseListing } from './directory-listing.js';
import type { CliEnv } from './env.js';
import { TransferReport } from './transfer-report.js';

/** What a share must be. */
export interface Expected {
  /** For people: the name of what is fetched. */
  readonly what: string;
  /** Undefined: any. */
  readonly size?: number | undefined;
  readonly sha256: string;
}

/**
 * Fetches a file that must have this digest, to a place that is ours: what is there is replaced. Looks at the share first, so that another file is
 * not fetched at all. Throws ARTIFACT_MISMATCH; no file is there then.
 */
export async function fetchChecked(
  env: CliEnv,
  client: FedgateClient,
  { share, to, json }: { readonly share: string; readonly to: string; readonly json: boolean },
  expected: Expected,
): Promise<FetchedFile> {
  checkShare(await client.getShare(share), expected);
  const report = new TransferReport(env, json, { share, path: to });
  try {
    const { onProgress } = report;
    const accept = (fetched: SharedFile): void => checkShare(fetched, expected);
    return await client.fetch(share, { to, overwrite: true, accept, onProgress, signal: env.signal });
  } finally {
    report.stop();
  }
}

/** The bytes of a share that must have this digest. Throws ARTIFACT_MISMATCH, also when there are more than `most`. */
export async function fetchBytes(
  env: CliEnv,
  client: FedgateClient,
  share: string,
  expected: Expected,
  most: number,
): Promise<Buffer> {
  const stream = await client.fetchStream(share, { signal: env.signal });
  checkShare(stream.share, expected);
  return collect(stream, most, expected.what);
}

/** What the listing of a shared folder says; nothing of it is believed by itself. Throws FILE_UNUSABLE. */
export async function fetchListing(env: CliEnv, client: FedgateClient, share: string): Promise<readonly ListedFile[]> {
  const stream = await client.fetchStream(share, { signal: env.signal });
  return parseListing(await collect(stream, MAX_LISTING_BYTES, 'the listing of the folder'), orgOfShare(share));
}

async function collect(
  stream: AsyncIterable<Buffer> & { readonly share: SharedFile; close(): void },
  most: number,
  what: string,
): Promise<Buffer> {
  const { size } = stream.share;
  if (size > most) {
    stream.close();
    throw new FedgateError('FILE_UNUSABLE', `${what} has ${size} bytes, more than are read (${most})`);
  }
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

function checkShare(share: SharedFile, { what, size, sha256 }: Expected): void {
  if (size !== undefined && share.size !== size) throw mismatch(what, `${share.size} bytes, and not ${size}`);
  if (share.sha256 !== sha256) throw mismatch(what, `the SHA-256 ${share.sha256}, and not ${sha256}`);
}

/** ARTIFACT_MISMATCH. `has`: what it has, and what it should have. */
export const mismatch = (what: string, has: string): FedgateError =>
  new FedgateError('ARTIFACT_MISMATCH', `${quoted(what)} is not what the proposal names: it has ${has}`);
