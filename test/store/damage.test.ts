import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { key } from '../../src/store/keys.js';
import { openStore } from '../../src/store/open.js';
import { type BodyRef, Change } from '../../src/store/store.js';
import { verifyStore } from '../../src/store/verify.js';
import { refused } from '../support/reasons.js';
import { bytesOf, readRow, rowOf } from './committed.js';
import { bodyOf, opened, sha256, storeBody, storeFolder } from './support.js';

const segmentFile = (folder: string, { log, segment }: BodyRef): string =>
  join(folder, 'bodies', log, `${segment}.seg`);

async function flipBit(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 1;
  await file.write(byte, 0, 1, at);
  await file.close();
}

test('flipped bit: that body is refused, its neighbours are read', async t => {
  const folder = await storeFolder(t);
  const store = await opened(t, folder);
  const refs: BodyRef[] = [];
  for (let i = 0; i < 3; i++) refs.push(await storeBody(store, 'inbox', bodyOf(i, 2000)));
  const [first, second, third] = refs as [BodyRef, BodyRef, BodyRef];
  await flipBit(segmentFile(folder, second), second.offset + 500);
  await refused(t, 'BODY_UNREADABLE', () => store.read(second, sha256(bodyOf(1, 2000))));
  t.is((await store.read(first, sha256(bodyOf(0, 2000)))).length, 2000);
  t.is((await store.read(third, sha256(bodyOf(2, 2000)))).length, 2000);
});

test('cut or missing segment: the bodies that are gone are refused, the others read', async t => {
  const folder = await storeFolder(t);
  const store = await opened(t, folder);
  const first = await storeBody(store, 'inbox', bodyOf(0, 2000));
  const second = await storeBody(store, 'inbox', bodyOf(1, 2000));
  await truncate(segmentFile(folder, first), 3000);
  t.is((await store.read(first, sha256(bodyOf(0, 2000)))).length, 2000);
  await refused(t, 'BODY_UNREADABLE', () => store.read(second, sha256(bodyOf(1, 2000))));
  await store.close();
  await rm(segmentFile(folder, first));
  const again = await opened(t, folder);
  await refused(t, 'BODY_UNREADABLE', () => again.read(first, sha256(bodyOf(0, 2000))));
  await storeBody(again, 'inbox', bodyOf(2, 2000));
});

test('damaged rows: are told in a sentence, and nothing is swept away', async t => {
  const folder = await storeFolder(t);
  const store = await openStore(folder, { reserveBytes: 0 });
  for (let i = 0; i < 40; i++) {
    const { body, ref, row } = rowOf(i, length => store.reserve('inbox', length));
    await store.commit(
      new Change().write(ref, [body]).put('rows', Buffer.from(`${i}`), Buffer.concat([row, bodyOf(i, 1500)])),
    );
  }
  await store.close();
  const path = join(folder, 'rows', 'data.mdb');
  const whole = await readFile(path);
  const tries: readonly (readonly [string, Buffer, RegExp])[] = [
    ['cut in the middle', whole.subarray(0, whole.length >> 1), /was cut: it has \d+ of \d+ bytes/],
    ['cut after its head', whole.subarray(0, 8192), /was cut/],
    ['cut within its head', whole.subarray(0, 100), /does not begin as it should/],
    ['empty', Buffer.alloc(0), /missing or empty/],
    ['garbage', Buffer.alloc(whole.length, 0x5a), /does not begin as it should/],
  ];
  for (const [name, content, message] of tries) {
    await writeFile(path, content);
    const error = await refused(t, 'STORE_DAMAGED', () => openStore(folder, { reserveBytes: 0 }));
    t.regex(error.message, message, name);
  }
  await rm(path);
  await refused(t, 'STORE_DAMAGED', () => openStore(folder, { reserveBytes: 0 }));
  await writeFile(path, whole);
  const again = await opened(t, folder);
  t.is((await again.scan('rows', { limit: 100 })).length, 40);
  t.is(
    (await again.stats()).bodyBytes.get('inbox'),
    Array.from({ length: 40 }, (_, i) => bytesOf(i)).reduce((a, b) => a + b),
  );
});

test('rows cut at their end: what only writing touches is missed before it kills the process', async t => {
  const folder = await storeFolder(t);
  const store = await openStore(folder, { reserveBytes: 0 });
  // Grows, and takes pages of before for what comes, so that there are free pages and a list of them at the end of the file.
  for (let i = 0; i < 400; i++) {
    const change = new Change();
    for (let j = 0; j < 10; j++) change.put('log', key(i * 10 + j), Buffer.alloc(200, j));
    await store.commit(change);
  }
  await store.close();
  const path = join(folder, 'rows', 'data.mdb');
  const whole = await readFile(path);
  const script = fileURLToPath(new URL('open-and-commit.js', import.meta.url));
  for (let pages = 1; pages <= 8; pages++) {
    await writeFile(path, whole.subarray(0, whole.length - pages * 4096 + 1_000));
    const child = spawn(process.execPath, [script, folder], { stdio: 'ignore' });
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    t.true(code === 0 || code === 3, `${pages} pages: ${code ?? signal}`);
  }
});

test('verify: counts rows and bodies, and names what is missing or bad, while the store is in use', async t => {
  const folder = await storeFolder(t);
  const store = await opened(t, folder, { segmentBytes: 20_000 });
  const refs: BodyRef[] = [];
  for (let i = 0; i < 12; i++) {
    const { body, ref, row } = rowOf(i, length => store.reserve('inbox', length));
    refs.push(ref);
    await store.commit(new Change().write(ref, [body]).put('rows', Buffer.of(i), row).put('other', Buffer.of(i), row));
  }
  await store.commit(new Change().put('rows', Buffer.of(99), Buffer.alloc(40, 0xff)));
  const verifiers = new Map([['rows', readRow]]);
  const quick = await verifyStore(folder, { bodies: false, verifiers });
  t.like(quick, { bodies: 0, missing: 0, bad: 0 });
  t.true(quick.rows >= 25);
  t.deepEqual(quick.identity.id, store.id);

  const [first, second] = [refs[0] as BodyRef, refs[11] as BodyRef];
  await flipBit(segmentFile(folder, first), first.offset);
  await rm(segmentFile(folder, second));
  const gone = refs.filter(({ segment }) => segment === second.segment).length;
  const full = await verifyStore(folder, { bodies: true, verifiers });
  t.like(full, { bodies: 12, missing: gone, bad: 2 });
  t.is(full.findings.length, gone + 2);
  t.deepEqual(full.findings[0]?.key, Buffer.of(0));
  t.regex(full.findings[0]?.problem ?? '', /is not what was written/);
});
