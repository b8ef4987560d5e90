import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { InboxLog, type InboxLogOptions } from '../../../src/durable/log/inbox-log.js';
import type { LogEntry } from '../../../src/durable/types.js';
import type { OrgName } from '../../../src/identity/names.js';
import { parsePattern } from '../../../src/messaging/address.js';
import { key } from '../../../src/store/keys.js';
import { bodiesFolder, openStore } from '../../../src/store/open.js';
import type { Store } from '../../../src/store/store.js';
import type { RecordBlock } from '../../../src/wire/records.js';
import { damageRows } from '../../support/damage.js';
import { ACME, block, EVERYTHING, LIMITS, outgoing, received } from '../../support/inbox.js';
import { heldBytes } from '../../support/memory.js';

const MIB = 1024 * 1024;

interface Disk {
  readonly store: Store;
  readonly log: InboxLog;
  close(): Promise<void>;
}

async function folderOf(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-log-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function openDisk(folder: string, options: Partial<InboxLogOptions> = {}): Promise<Disk> {
  const store = await openStore(folder, { reserveBytes: 0 });
  const log = await InboxLog.open({
    store,
    ownOrg: 'GLOBEX' as OrgName,
    limits: LIMITS,
    retention: [],
    now: Date.now,
    onEvent: () => undefined,
    ...options,
  });
  const close = async (): Promise<void> => {
    await log.close();
    await store.close();
  };
  return { store, log, close };
}

async function readAll(log: InboxLog, from = 0): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for (let at = from; at < log.end; ) {
    const page = await log.read(at, EVERYTHING, 1_000);
    entries.push(...page.entries);
    at = page.next;
  }
  return entries;
}

test('disk: entries, watermark, offsets and repeated calls are there after a restart', async t => {
  const folder = await folderOf(t);
  const idempotency = { kind: 'id', id: 'once' } as const;
  const first = await openDisk(folder);
  await Promise.all([
    first.log.receive(received(1)),
    first.log.append(outgoing('own', block('x', 'y'), { idempotency })),
    first.log.receive(received(2, { channel: 'bills' })),
  ]);
  await first.close();
  const again = await openDisk(folder);
  t.deepEqual(again.log.watermark(ACME), { epoch: 1n, sequence: 2 });
  const entries = await readAll(again.log);
  t.deepEqual(entries.map(({ offset, channel }) => `${offset} ${channel}`).sort(), ['1 orders', '2 bills', '3 own']);
  for (const entry of entries) t.is((await again.log.records(entry))?.count, entry.count);
  t.true((await again.log.append(outgoing('own', block('x', 'y'), { idempotency }))).duplicate);
  await again.close();
});

/** Small ones are rows. */
const small = (sequence: number) => block(`record ${sequence}`);
const large = (sequence: number) => block(`record ${sequence}`, 'x'.repeat(2_000));

test('disk: a bit flipped in a segment is mended from the origin, and stays so', async t =>
  mends(t, large, folder => flip(folder, Buffer.from('record 2'))));

test('disk: a bit flipped in a body that is a row is mended from the origin, and stays so', async t =>
  mends(t, small, folder => damageRows(folder, '$body', key(1))));

async function mends(
  t: ExecutionContext,
  recordsOf: (sequence: number) => RecordBlock,
  damage: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await folderOf(t);
  const first = await openDisk(folder);
  for (const sequence of [1, 2, 3]) await first.log.receive(received(sequence, { records: recordsOf(sequence) }));
  await first.close();
  await damage(folder);
  const refetch = async () => recordsOf(2);
  const damaged = await openDisk(folder, { refetch });
  for (const sequence of [1, 2, 3]) {
    const entry = (await readAll(damaged.log))[sequence - 1] as LogEntry;
    t.deepEqual(await damaged.log.records(entry), recordsOf(sequence));
  }
  t.deepEqual(damaged.log.counters, { quarantined: 1, mended: 1, lost: 0 });
  await damaged.close();
  const again = await openDisk(folder);
  for (const entry of await readAll(again.log)) t.is((await again.log.records(entry))?.count, entry.count);
  t.is(again.log.counters.quarantined, 0);
  await again.close();
}

/** Flips a bit of the first place in a segment file where these bytes are. */
async function flip(folder: string, bytes: Buffer): Promise<void> {
  for (const name of await readdir(bodiesFolder(folder), { recursive: true, withFileTypes: true })) {
    if (!name.isFile()) continue;
    await using file = await open(join(name.parentPath, name.name), 'r+');
    const content = await file.readFile();
    const at = content.indexOf(bytes);
    if (at < 0) continue;
    await file.write(Buffer.from([content.readUInt8(at) ^ 1]), 0, 1, at);
    return;
  }
  throw new RangeError('no segment holds these bytes');
}

test('disk: a log of a million records is open at once, and any place of it is found', async t => {
  const folder = await folderOf(t);
  const records = block(...Array(500).fill('12345678'));
  const limits = { ...LIMITS, bytesPerChannel: 1_000 * MIB, bytesPerPeer: 1_000 * MIB };
  const first = await openDisk(folder, { limits });
  let waiting: Promise<unknown>[] = [];
  for (let sequence = 1; sequence <= 2_000; sequence++) {
    waiting.push(first.log.receive(received(sequence, { records, channel: `orders/${sequence % 10}` })));
    if (waiting.length === 200) await Promise.all(waiting.splice(0));
  }
  waiting = [];
  await first.close();
  const started = performance.now();
  const again = await openDisk(folder, { limits });
  const opened = performance.now() - started;
  t.is(again.log.end, 1_000_001);
  // A thousandth of that is to be expected; the bound says only that nobody reads a million of anything.
  t.true(opened < 15_000, `${opened} ms`);
  again.log.hold('s', parsePattern('orders/**'), 500_001);
  await again.log.trim();
  t.is(again.log.heldBytes('ACME'), 1_000 * records.bytes.length);
  t.is((await again.log.read(777_777, EVERYTHING, 1)).entries[0]?.offset, 777_501);
  t.is((await again.log.read(777_777, parsePattern('orders/3'), 1)).entries[0]?.channel, 'orders/3');
  await again.close();
});

test('disk: memory stays bounded while much more goes through the log', async t => {
  const folder = await folderOf(t);
  const limits = { ...LIMITS, bytesPerChannel: 1_000 * MIB, bytesPerPeer: 1_000 * MIB };
  const retention = [{ pattern: EVERYTHING, keepMs: 1_000_000, keepBytes: 16 * MIB }];
  const { log, store, close } = await openDisk(folder, { limits, retention });
  const before = await heldBytes();
  const records = block('x'.repeat(256 * 1024));
  for (let sequence = 1; sequence <= 400; ) {
    const some = Array.from({ length: 20 }, () =>
      log.receive(received(sequence++, { records: { ...records, bytes: Buffer.from(records.bytes) } })),
    );
    await Promise.all(some);
  }
  const grown = (await heldBytes()) - before;
  t.true(grown < 40 * MIB, `${grown} bytes for 100 MiB`);
  await log.trim();
  const { bodyBytes } = await store.stats();
  t.true((bodyBytes.get('inbox-0') ?? 0) <= 17 * MIB);
  await close();
});
