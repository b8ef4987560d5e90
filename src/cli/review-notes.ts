import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { stateFolder } from '../client/context.js';
import { describe, FedgateError } from '../errors.js';
import { writeFileAtomically } from '../identity/files.js';
import type { CliEnv } from './env.js';

/** Longer than any proposal may be open, milliseconds. */
const KEEP_MS = 400 * 86_400_000;

const noteSchema = z.strictObject({
  version: z.literal(1),
  statementSha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/**
 * Which statement was shown to the user under the id of a proposal. The first one counts, whichever gateway showed it: one that shows another
 * one later, or to another person at the same desk, is found out before anything is signed.
 */
export class ReviewNotes {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(env: CliEnv): Promise<ReviewNotes> {
    const folder = join(stateFolder(env.variables), 'reviews');
    await removeOld(folder);
    return new ReviewNotes(folder);
  }

  /**
   * Notes what is shown, unless that was done before. Throws PROPOSAL_FORKED when something else was shown under that id, and FILE_UNUSABLE when
   * the notes cannot be read or written: without them nothing may be signed.
   */
  async check(id: string, statementSha256: string): Promise<void> {
    const path = join(this.#folder, `${id}.json`);
    const noted = await this.#read(path);
    if (noted === undefined) return this.#write(path, statementSha256);
    if (noted !== statementSha256)
      throw new FedgateError(
        'PROPOSAL_FORKED',
        `the gateway shows another statement under the id ${id} than it did before: SHA-256 ${statementSha256} now, ${noted} then. Nothing is signed; tell the other approvers, and compare: fedgate proposals log --export`,
        { metadata: { reviewed: noted, shown: statementSha256 } },
      );
  }

  async #read(path: string): Promise<string | undefined> {
    try {
      return noteSchema.parse(JSON.parse(await readFile(path, 'utf8'))).statementSha256;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new FedgateError(
        'FILE_UNUSABLE',
        `${path}: not a note of what was reviewed: ${describe(cause).split('\n')[0]}`,
        {
          cause,
        },
      );
    }
  }

  async #write(path: string, statementSha256: string): Promise<void> {
    try {
      await writeFileAtomically(path, `${JSON.stringify({ version: 1, statementSha256 })}\n`, 0o600);
    } catch (cause) {
      throw new FedgateError('FILE_UNUSABLE', `${path}: what was reviewed cannot be noted: ${describe(cause)}`, {
        cause,
      });
    }
  }
}

async function removeOld(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const stats = await stat(path).catch(() => undefined);
    if (stats && stats.mtimeMs < Date.now() - KEEP_MS) await rm(path, { force: true }).catch(() => undefined);
  }
}
