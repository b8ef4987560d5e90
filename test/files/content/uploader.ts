import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { openContents } from '../../../src/files/content/open.js';
import { openStore } from '../../../src/store/open.js';
import { contentOf, LIMITS, nothing, startOf } from './support.js';

/** Run as a process: goes on with an upload and prints how much of it is committed after each chunk, and the content when it is finished. */
const [, , folder = '', uploadId = '', bytes = '0'] = process.argv;
const content = contentOf('killed', Number(bytes));
const store = await openStore(join(folder, 'store'), { reserveBytes: 0 });
const contents = await openContents({
  folder: join(folder, 'files'),
  store,
  now: Date.now,
  limits: LIMITS,
  onEvent: event => writeSync(2, `${event.kind}\n`),
});
const upload = await contents.upload(startOf(content.length, { uploadId: Buffer.from(uploadId, 'hex') }));
writeSync(1, `from ${upload.committedSize}\n`);
const CHUNK_BYTES = 256 * 1024;
for (let at = upload.committedSize; at < content.length; at += CHUNK_BYTES) {
  await upload.write(at, content.subarray(at, at + CHUNK_BYTES));
  writeSync(1, `committed ${upload.committedSize}\n`);
}
const held = await upload.finish(nothing);
writeSync(1, `done ${held.id.toString('hex')}\n`);
held.release();
await contents.close();
await store.close();
