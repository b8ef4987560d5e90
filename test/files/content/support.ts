import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ShareStart } from '../../../gen/ts/fedgate/files/v1/file_service.js';
import type { ContentStore } from '../../../src/files/content/contents.js';
import type { ContentEvent } from '../../../src/files/content/events.js';
import { openContents } from '../../../src/files/content/open.js';
import type { ContentLimits } from '../../../src/files/content/parts.js';
import type { HeldContent, Upload, UploadStart } from '../../../src/files/content/types.js';
import { manifestDigest, merkleRoot } from '../../../src/files/manifest.js';
import type { Manifest } from '../../../src/files/types.js';
import type { OrgName } from '../../../src/identity/names.js';
import { openStore } from '../../../src/store/open.js';
import type { Store } from '../../../src/store/store.js';
import { type TestScope, temporaryFolder } from '../../support/registry.js';

export const MIB = 1024 * 1024;
export const PIECE = 4 * MIB;
const GIB = 1024 * MIB;

export const LIMITS: ContentLimits = {
  sharedBytes: 10 * GIB,
  sharedBytesPerNode: 10 * GIB,
  cacheBytes: 10 * GIB,
  reserveBytes: 0,
  keepMs: 24 * 3_600_000,
  uploadKeepMs: 24 * 3_600_000,
};

export const never = (): AbortSignal => new AbortController().signal;
export const nothing = (): void => undefined;
export const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

export interface World {
  readonly folder: string;
  readonly store: Store;
  readonly contents: ContentStore;
  readonly events: ContentEvent[];
  /** The clock. */
  time: { ms: number };
  /** Closes both, and opens them again. */
  restart(limits?: Partial<ContentLimits>): Promise<World>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly folder?: string;
  readonly limits?: Partial<ContentLimits>;
  readonly time?: { ms: number };
}

/** A content store on a real disk. */
export async function openWorld(t: TestScope, options: WorldOptions = {}): Promise<World> {
  const folder = options.folder ?? (await temporaryFolder(t));
  const time = options.time ?? { ms: 1_800_000_000_000 };
  await mkdir(folder, { recursive: true });
  const store = await openStore(join(folder, 'store'), { reserveBytes: 0 });
  const events: ContentEvent[] = [];
  const contents = await openContents({
    folder: join(folder, 'files'),
    store,
    now: () => time.ms,
    limits: { ...LIMITS, ...options.limits },
    onEvent: event => events.push(event),
  });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= contents.close().then(() => store.close());
    return closing;
  };
  t.teardown(close);
  const restart = async (limits?: Partial<ContentLimits>): Promise<World> => {
    await close();
    return await openWorld(t, { folder, time, limits: { ...options.limits, ...limits } });
  };
  return { folder, store, contents, events, time, restart, close };
}

export const GLOBEX = 'GLOBEX' as OrgName;
export const INITECH = 'INITECH' as OrgName;

/** Bytes that are the same for each seed, and differ from those of others everywhere. */
export function contentOf(seed: string, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  const block = 1024;
  for (let at = 0, i = 0; at < length; at += block, i++) {
    bytes.fill(createHash('sha512').update(`${seed}/${i}`).digest(), at, Math.min(at + block, length));
  }
  return bytes;
}

export function manifestOf(content: Buffer, pieceSize = PIECE): Manifest {
  const digests: Buffer[] = [];
  for (let at = 0; at < content.length; at += pieceSize) digests.push(sha256(content.subarray(at, at + pieceSize)));
  const pieces = Buffer.concat(digests);
  return { size: content.length, pieceSize, sha256: sha256(content), merkleRoot: merkleRoot(pieces), pieces };
}

export const idOf = (content: Buffer): Buffer => manifestDigest(manifestOf(content));

export function startOf(size: number | undefined, change: Partial<UploadStart> & { name?: string } = {}): UploadStart {
  const { name = 'file.bin', ...others } = change;
  const uploadId = others.uploadId ?? randomBytes(16);
  const message = ShareStart.fromPartial({ uploadId, name, ...(size !== undefined && { size: BigInt(size) }) });
  return { owner: 'billing', uploadId, size, start: Buffer.from(ShareStart.encode(message).finish()), ...others };
}

/** Writes from where the upload is, up to a place. */
export async function writeUpTo(
  upload: Upload,
  content: Buffer,
  end = content.length,
  chunk = 256 * 1024,
): Promise<void> {
  for (let at = upload.committedSize; at < end; at += chunk) {
    await upload.write(at, content.subarray(at, Math.min(at + chunk, end)));
  }
}

/** Shares a content; the hold is the caller's. */
export async function share(contents: ContentStore, content: Buffer, owner = 'billing'): Promise<HeldContent> {
  const upload = await contents.upload(startOf(content.length, { owner }));
  await writeUpTo(upload, content);
  return await upload.finish(nothing);
}

export async function readAll(held: HeldContent, index: number, offset = 0): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of held.readPiece(index, offset, never())) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

export async function readWhole(held: HeldContent): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let i = 0; i * held.manifest.pieceSize < held.manifest.size; i++) parts.push(await readAll(held, i));
  return Buffer.concat(parts);
}

/** Has a piece come from elsewhere. Answers whether it was wanted. */
export async function deliver(held: HeldContent, index: number, content: Buffer): Promise<boolean> {
  const writer = await held.receive(index);
  if (!writer) return false;
  const { pieceSize } = held.manifest;
  await writer.write(content.subarray(index * pieceSize, (index + 1) * pieceSize));
  await writer.finish();
  return true;
}

export const pathOf = (folder: string, digest: Buffer): string => {
  const name = digest.toString('hex');
  return join(folder, 'files', 'pieces', name.slice(0, 2), name.slice(2, 4), name);
};

/** Names of all piece files, and of all files that are being written. */
export async function filesIn(folder: string): Promise<{ readonly pieces: string[]; readonly incoming: string[] }> {
  const found = await readdir(join(folder, 'files', 'pieces'), { recursive: true, withFileTypes: true });
  return {
    pieces: found.filter(entry => !entry.isDirectory()).map(({ name }) => name),
    incoming: await readdir(join(folder, 'files', 'incoming')),
  };
}
