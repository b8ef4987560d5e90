import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { type TestScope, temporaryFolder } from '../../support/registry.js';
import { contentOf, filesIn, idOf, openWorld, PIECE, readWhole, startOf } from './support.js';

const SCRIPT = fileURLToPath(new URL('uploader.js', import.meta.url));
const SIZE = 8 * PIECE + 1000;

interface Run {
  readonly from: number;
  /** The last that was said to be committed. */
  readonly committed: number;
  readonly done: string | undefined;
}

/** Has a process go on with the upload, and kills it after so many chunks. */
async function uploadUntilDead(t: TestScope, folder: string, uploadId: Buffer, chunks: number): Promise<Run> {
  const args = [SCRIPT, folder, uploadId.toString('hex'), String(SIZE)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  const run = { from: -1, committed: 0, done: undefined as string | undefined };
  let left = chunks;
  for await (const line of createInterface(child.stdout)) {
    const [what, value = ''] = line.split(' ');
    if (what === 'from') run.from = Number(value);
    else if (what === 'done') run.done = value;
    else run.committed = Number(value);
    if (left-- === 0) child.kill('SIGKILL');
  }
  await exit;
  return run;
}

test('kill -9: an upload goes on from what was committed at any instant, and ends byte for byte right', async t => {
  const folder = await temporaryFolder(t);
  const uploadId = randomBytes(16);
  const content = contentOf('killed', SIZE);
  let committed = 0;
  let kills = 0;
  for (let done: string | undefined; done === undefined; kills++) {
    t.true(kills < 100, 'it goes on');
    // Some are killed before the first chunk, some behind it.
    const run = await uploadUntilDead(t, folder, uploadId, Math.floor(Math.random() * 120));
    if (run.from >= 0) {
      t.true(run.from >= committed, `${run.from} after ${committed}`);
      t.is(run.from % PIECE, 0);
    }
    committed = Math.max(committed, run.from, run.committed);
    done = run.done;
  }
  t.log(`killed ${kills - 1} times`);
  const { contents } = await openWorld(t, { folder, time: { ms: Date.now() } });
  const held = await contents.hold(idOf(content));
  t.true(held && (await readWhole(held)).equals(content));
  t.is(await contents.findUpload('billing', uploadId), undefined);
  held?.release();
  t.deepEqual((await filesIn(folder)).incoming, []);
});

test('kill -9: what is left of an upload that nobody resumes goes away with it', async t => {
  const folder = await temporaryFolder(t);
  const uploadId = randomBytes(16);
  for (let kill = 0; kill < 5; kill++) await uploadUntilDead(t, folder, uploadId, 5 + kill * 12);
  const { contents } = await openWorld(t, { folder, time: { ms: Date.now() } });
  const found = await contents.findUpload('billing', uploadId);
  const { pieces, incoming } = await filesIn(folder);
  t.true(pieces.length >= (found?.committedSize ?? 0) / PIECE);
  t.deepEqual(incoming, []);
  const upload = await contents.upload(startOf(SIZE, { uploadId }));
  await upload.close();
  await contents.cancelUpload('billing', uploadId);
  await contents.sweep();
  // What was put in its place and not committed is younger than an hour: at most the pieces that were under way at each kill.
  t.true((await filesIn(folder)).pieces.length <= 3);
});
