import { unlink } from 'node:fs/promises';
import test from 'ava';
import { FedgateError } from '../../../src/errors.js';
import type { HeldContent } from '../../../src/files/content/types.js';
import { pieceCount, pieceDigest } from '../../../src/files/manifest.js';
import { complaint } from './consistent.js';
import { flip } from './damage.js';
import {
  contentOf,
  deliver,
  GLOBEX,
  INITECH,
  manifestOf,
  nothing,
  openWorld,
  PIECE,
  pathOf,
  readAll,
  startOf,
  writeUpTo,
} from './support.js';

/** Few pieces that many contents share, in every way they can be combined. */
const BLOCKS = [0, 1, 2].map(fill => Buffer.alloc(PIECE, fill));
const TAILS = [Buffer.alloc(0), contentOf('tail', 100)];

test('model: whatever is done in whatever order, references and files are what the rows say, and nothing wrong is ever read', async t => {
  const seed = Date.now() % 1_000_000;
  t.log(`seed ${seed}`);
  let state = seed + 1;
  const random = (below: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  const anyContent = (): Buffer =>
    Buffer.concat([
      ...Array.from({ length: random(4) }, () => BLOCKS[random(3)] as Buffer),
      TAILS[random(2)] as Buffer,
    ]);
  let world = await openWorld(t);
  const shared: { readonly id: Buffer; readonly owner: string }[] = [];
  let holds: { readonly held: HeldContent; readonly content: Buffer }[] = [];
  const uploadIds = [1, 2].map(fill => Buffer.alloc(16, fill));

  const steps: Record<string, () => Promise<void>> = {
    share: async () => {
      const content = anyContent();
      const owner = ['a', 'b'][random(2)] as string;
      const upload = await world.contents.upload(startOf(content.length, { owner }));
      await writeUpTo(upload, content);
      const held = await upload.finish(nothing);
      shared.push({ id: held.id, owner });
      holds.push({ held, content });
    },
    unshare: async () => {
      const [share] = shared.splice(random(shared.length + 1), 1);
      if (share) await world.contents.dropShare(share.id, nothing, share.owner);
    },
    remote: async () => {
      const content = anyContent();
      holds.push({ held: await world.contents.holdRemote(manifestOf(content), random(2) ? GLOBEX : INITECH), content });
    },
    receive: async () => {
      const one = holds[random(holds.length + 1)];
      if (!one || one.content.length === 0) return;
      const indexes = Array.from({ length: 3 }, () => random(pieceCount(one.held.manifest)));
      await Promise.all(indexes.map(index => deliver(one.held, index, one.content)));
    },
    read: async () => {
      const one = holds[random(holds.length + 1)];
      if (!one || one.content.length === 0) return;
      const index = random(pieceCount(one.held.manifest));
      const bytes = await readAll(one.held, index);
      t.true(bytes.equals(one.content.subarray(index * PIECE, (index + 1) * PIECE)));
    },
    release: async () => holds.splice(random(holds.length + 1), 1)[0]?.held.release(),
    judgeRight: async () => holds[random(holds.length + 1)]?.held.judge(true),
    upload: async () => {
      const uploadId = uploadIds[random(2)] as Buffer;
      const content = Buffer.concat([BLOCKS[uploadId[0] ?? 0] as Buffer, BLOCKS[0] as Buffer, TAILS[1] as Buffer]);
      const upload = await world.contents.upload(startOf(content.length, { uploadId }));
      await writeUpTo(upload, content, random(content.length));
      await upload.close();
    },
    cancel: () => world.contents.cancelUpload('billing', uploadIds[random(2)] as Buffer),
    damage: async () => {
      const one = holds[random(holds.length + 1)];
      if (!one || one.content.length === 0) return;
      const digest = pieceDigest(one.held.manifest, random(pieceCount(one.held.manifest)));
      const damage = random(2) === 0 ? flip(world.folder, digest) : unlink(pathOf(world.folder, digest));
      // There may be no such piece. What is damaged is found by reading all, so that files and rows agree again.
      await damage.catch(nothing);
      await world.contents.scrub({ signal: new AbortController().signal, bytesPerSecond: 1e12 });
    },
    sweep: async () => {
      world.time.ms += random(3) * 13 * 3_600_000;
      await world.contents.sweep();
    },
    restart: async () => {
      for (const { held } of holds) held.release();
      holds = [];
      world = await world.restart();
    },
  };
  const names = Object.keys(steps);
  for (let step = 0; step < 120; step++) {
    // A few at once.
    const chosen = Array.from({ length: 1 + random(3) }, () => names[random(names.length)] as string);
    const batch = chosen.includes('restart') ? ['restart'] : chosen;
    for (const outcome of await Promise.allSettled(batch.map(name => steps[name]?.()))) {
      if (outcome.status === 'fulfilled') continue;
      const error = outcome.reason;
      const expected = ['FILE_DAMAGED', 'UPLOAD_TAKEN', 'CANCELLED', 'UPLOAD_UNKNOWN', 'UPLOAD_MISMATCH'];
      const fine = error instanceof FedgateError ? expected.includes(error.reason) : String(error).includes('released');
      if (!fine) throw error;
    }
    await world.contents.scrub({ signal: new AbortController().signal, bytesPerSecond: 1e12 });
    await world.contents.sweep();
    const problem = await complaint(world.folder, world.store);
    if (problem) t.fail(`step ${step} of seed ${seed} (${batch.join()}): ${problem}`);
    if (problem) return;
  }
  // In the end all of it goes.
  for (const { held } of holds) held.release();
  for (const { id, owner } of shared) await world.contents.dropShare(id, nothing, owner);
  for (const uploadId of uploadIds) await world.contents.cancelUpload('billing', uploadId);
  world.time.ms += 48 * 3_600_000;
  await world.contents.sweep();
  t.is(await complaint(world.folder, world.store), undefined);
  for (const table of ['file-piece', 'file-content', 'file-held', 'file-upload', 'file-upload-part']) {
    t.deepEqual(await world.store.scan(table, { limit: 1 }), [], table);
  }
});
