import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { loadContext, stateFolder } from '../client/context.js';
import { writeFileAtomically } from '../identity/files.js';
import type { CliEnv } from './env.js';
import { type GatewayOptions, tokenFileOf } from './options.js';

/** As long as a gateway keeps what nobody goes on with, milliseconds. An older note is of no use. */
const KEEP_MS = 24 * 3_600_000;

const noteSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  /** 0: never. */
  expireTimeMs: z.number(),
});

/** What a command must know to go on where it was interrupted. */
export interface TransferNote {
  /** 16 bytes: names an upload or a download. */
  readonly id: Buffer;
  readonly expireTimeMs: number | undefined;
}

/**
 * What commands note so that the same command goes on after it was interrupted: one small file per transfer in the user's state folder,
 * under a digest of all that makes it the same. Removed when the command is done.
 */
export class TransferNotes {
  readonly #folder: string;
  /** Which gateway, and as whom. */
  readonly #context: string;
  readonly #used = new Set<string>();

  private constructor(folder: string, context: string) {
    this.#folder = folder;
    this.#context = context;
  }

  static async open(env: CliEnv, options: GatewayOptions): Promise<TransferNotes> {
    const { address, serverName, identity, node } = await loadContext(options.context ?? env.variables.FEDGATE_CONTEXT);
    const token = tokenFileOf(env, options);
    const who = token || !identity ? [token, node] : new X509Certificate(identity.certificate).subjectAltName;
    const folder = join(stateFolder(env.variables), 'transfers');
    await removeOld(folder);
    return new TransferNotes(folder, JSON.stringify([address, serverName, who]));
  }

  /** Whether an earlier run began a transfer that the facts describe, and did not end it. */
  async has(facts: readonly unknown[]): Promise<boolean> {
    return (await readNote(this.#path(facts))) !== undefined;
  }

  /** The note of a transfer that the facts describe: of an earlier run, or a new one, which is written down. */
  async recall(facts: readonly unknown[], expiresMs?: number): Promise<TransferNote> {
    const path = this.#path(facts);
    this.#used.add(path);
    const found = await readNote(path);
    if (found) return found;
    const id = randomBytes(16);
    const expireTimeMs = expiresMs === undefined ? undefined : Date.now() + expiresMs;
    const text = JSON.stringify({ version: 1, id: id.toString('hex'), expireTimeMs: expireTimeMs ?? 0 });
    // Where nothing can be noted an interrupted transfer begins anew, which is no reason to refuse it.
    await writeFileAtomically(path, `${text}\n`, 0o600).catch(() => undefined);
    return { id, expireTimeMs };
  }

  /** A transfer that cannot go on. */
  async forget(facts: readonly unknown[]): Promise<void> {
    await remove(this.#path(facts));
  }

  /** All transfers of this command: it is done. */
  async forgetAll(): Promise<void> {
    for (const path of this.#used) await remove(path);
  }

  #path(facts: readonly unknown[]): string {
    const digest = createHash('sha256')
      .update(JSON.stringify([this.#context, facts]))
      .digest('hex');
    return join(this.#folder, `${digest}.json`);
  }
}

/** Undefined: there is none, it is none of ours, or what it stands for is over. */
async function readNote(path: string): Promise<TransferNote | undefined> {
  try {
    const { id, expireTimeMs } = noteSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    if (expireTimeMs !== 0 && expireTimeMs <= Date.now()) return undefined;
    return { id: Buffer.from(id, 'hex'), expireTimeMs: expireTimeMs || undefined };
  } catch {
    return undefined;
  }
}

async function removeOld(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const path = join(folder, name);
    const stats = await stat(path).catch(() => undefined);
    if (stats && stats.mtimeMs < Date.now() - KEEP_MS) await remove(path);
  }
}

/** One that stays is found to be old some day. */
const remove = (path: string): Promise<void> => rm(path, { force: true }).catch(() => undefined);
