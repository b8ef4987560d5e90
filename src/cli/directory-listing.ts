import { z } from 'zod';
import { describe, FedgateError } from '../errors.js';
import { checkPaths } from './file-names.js';

export { DIRECTORY_TYPE } from '../files/listing.js';

/** The most files of one listing, and the bytes of the largest that is read. */
export const MAX_LISTED_FILES = 100_000;
export const MAX_LISTING_BYTES = 64 * 1024 * 1024;

const listingSchema = z.strictObject({
  version: z.literal(1),
  files: z
    .array(
      z.strictObject({
        /** Relative, its names split by `/`. */
        path: z.string(),
        size: z.int().min(0),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        share: z.string().regex(/^share:\/\/[A-Z][A-Z0-9-]{1,31}\/[0-9a-f]{32}$/),
      }),
    )
    .max(MAX_LISTED_FILES),
});

export type Listing = z.output<typeof listingSchema>;
export type ListedFile = Listing['files'][number];

export const encodeListing = (files: readonly ListedFile[]): Buffer =>
  Buffer.from(`${JSON.stringify({ version: 1, files })}\n`);

/**
 * Reads the listing of a share of `org`. Throws FILE_UNUSABLE when it is none, when a path in it is not one of a file beneath a folder, and when
 * it names a share of somebody else.
 */
export function parseListing(bytes: Buffer, org: string): readonly ListedFile[] {
  try {
    const { files } = listingSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
    checkPaths(files.map(({ path }) => path));
    const foreign = files.find(({ share }) => orgOfShare(share) !== org);
    if (foreign) throw new Error(`it names a share of ${orgOfShare(foreign.share)}`);
    return files;
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `the listing of the folder is not one: ${describe(cause)}`, { cause });
  }
}

/** The organisation in a share id that was checked. */
export const orgOfShare = (id: string): string => id.split('/')[2] ?? '';
