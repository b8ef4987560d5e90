/** The media type of a folder's listing: a share that names a share for each of the folder's files. */
export const DIRECTORY_TYPE = 'application/vnd.fedgate.directory+json';

const SHA256 = /^[0-9a-f]{64}$/;

interface Listed {
  readonly path: unknown;
  readonly size: unknown;
  readonly sha256: unknown;
  readonly share: unknown;
}

/**
 * The digests of the files that a listing names. Undefined when it is not one: a byte more than those of the listing's one form, and it may be
 * something else as well.
 */
export function listedDigests(bytes: Buffer): Buffer[] | undefined {
  try {
    const { files } = JSON.parse(bytes.toString()) as { files: readonly Listed[] };
    const form = files.map(({ path, size, sha256, share }) => ({ path, size, sha256, share }));
    if (!Buffer.from(`${JSON.stringify({ version: 1, files: form })}\n`).equals(bytes)) return undefined;
    return form.every(isListed) ? form.map(({ sha256 }) => Buffer.from(sha256 as string, 'hex')) : undefined;
  } catch {
    return undefined;
  }
}

const isListed = ({ path, size, sha256, share }: Listed): boolean =>
  typeof path === 'string' &&
  Number.isSafeInteger(size) &&
  typeof sha256 === 'string' &&
  SHA256.test(sha256) &&
  typeof share === 'string';
