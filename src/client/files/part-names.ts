import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** What file systems allow a name to have. */
const MAX_NAME_BYTES = 255;
/** The longest of what stands behind a name until a file is whole: that of a note while it is written. */
const SUFFIX_BYTES = '.part.json.4194304.tmp'.length;
const DIGEST_CHARACTERS = 16;
/** What file systems without hard links answer. */
export const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** The path of what stands beside a file on its way. A name that leaves no room for that is cut, and told apart by its digest. */
export function besidePath(path: string, suffix: string): string {
  const name = basename(path);
  if (Buffer.byteLength(name) + SUFFIX_BYTES <= MAX_NAME_BYTES) return `${path}${suffix}`;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, DIGEST_CHARACTERS);
  const room = MAX_NAME_BYTES - SUFFIX_BYTES - DIGEST_CHARACTERS - 1;
  // Cut in the middle of a character it would end with the mark for that.
  const kept = Buffer.from(name)
    .subarray(0, room)
    .toString()
    .replace(/\ufffd$/, '');
  return join(dirname(path), `${kept}~${digest}${suffix}`);
}

const READ_ONLY = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** What a small file beside it says. No link is followed, and a pipe that somebody put there keeps nobody waiting. Throws what the system says. */
export async function readBeside(path: string): Promise<string> {
  const handle = await open(path, READ_ONLY);
  try {
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}
