import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { FedgateError, type Reason } from '../../src/errors.js';
import type { Download } from '../../src/files/types.js';
import { CreditPool, MIN_WINDOW_BYTES, PEER_WINDOW_BYTES, SESSION_WINDOW_BYTES } from '../../src/link/files-credit.js';
import { MAX_SESSIONS } from '../../src/link/files-terms.js';
import { otherFrame } from '../support/attack.js';
import { ACME, GLOBEX } from '../support/durable-side.js';
import { bytesAt, FakeHolder, FilesSide, forever, MIB, nobody, readAll, request } from '../support/files-side.js';
import { LanePair } from '../support/lane-pair.js';

/** ACME asks, GLOBEX holds. */
async function scene(t: ExecutionContext, size = 5 * MIB + 7, pieceSize = MIB) {
  const pair = new LanePair();
  t.teardown(() => pair.cut());
  const holder = new FakeHolder(GLOBEX, size, pieceSize);
  const asking = await FilesSide.open(nobody, pair.a, GLOBEX);
  const holding = await FilesSide.open(holder, pair.b, ACME);
  const open = (more = {}): Promise<Download> => asking.session.ask('press', request(more), forever);
  return { pair, holder, asking, holding, open };
}

/** Lets everything that can happen by itself happen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await new Promise(resolve => setImmediate(resolve));
}

async function refused(t: ExecutionContext, work: Promise<unknown>, reason: Reason): Promise<void> {
  const error = await t.throwsAsync(work, { instanceOf: FedgateError });
  t.is(error?.reason, reason);
}

test('files lane: what a share is and every byte of its pieces arrive as they are held', async t => {
  const { pair, holder, open } = await scene(t);
  pair.automatic();
  const shareId = randomBytes(16);
  const download = await open({ shareId });
  t.deepEqual(download.manifest, holder.manifest);
  t.like(download.share, { org: GLOBEX, ownerNode: 'scanner', name: 'a "file"', size: 5 * MIB + 7, maxDownloads: 3 });
  t.deepEqual(download.share.id, shareId);
  t.deepEqual(holder.opened[0]?.asker, { org: ACME, node: 'press' });
  for (let piece = 0; piece < 5; piece++)
    t.true(bytesAt(piece, 0, MIB).equals(await readAll(download, piece)), `piece ${piece}`);
  t.deepEqual(await readAll(download, 5), bytesAt(5, 0, 7));
  t.deepEqual(await readAll(download, 2, MIB - 3), bytesAt(2, MIB - 3, 3));
  t.deepEqual(await readAll(download, 2, MIB), Buffer.alloc(0));
  download.close(true);
  await settle();
  t.is(holder.opened[0]?.complete, true);
});

test('files lane: what the other side of it would send ends it with FRAME_UNEXPECTED', async t => {
  const one = await scene(t);
  one.pair.automatic();
  one.pair.b.put({ $case: 'fileClose', value: { session: 1, complete: false } });
  await settle();
  t.is(one.pair.a.reason.reason, 'FRAME_UNEXPECTED');
  t.deepEqual(
    one.asking.alarms.map(({ reason }) => reason),
    ['FRAME_UNEXPECTED'],
  );
  const other = await scene(t);
  other.pair.automatic();
  other.pair.a.put({ $case: 'fileEnd', value: { session: 1, error: undefined } });
  await settle();
  t.is(other.pair.b.reason.reason, 'FRAME_UNEXPECTED');
  const third = await scene(t);
  await refused(t, third.holding.session.ask('x', request(), forever), 'INTERNAL');
});

test('files lane: a refusal is what the holder says, and the next download works', async t => {
  const { pair, holder, open } = await scene(t);
  pair.automatic();
  holder.refusal = new FedgateError('SHARE_ENDED', 'it expired', { metadata: { why: 'expired' } });
  const error = await t.throwsAsync(open(), { instanceOf: FedgateError });
  t.like(error, { reason: 'SHARE_ENDED', message: 'it expired', metadata: { org: 'GLOBEX', why: 'expired' } });
  holder.refusal = undefined;
  t.is((await readAll(await open(), 0)).length, MIB);
});

test('files lane: a defect of the holder is told without its words', async t => {
  const { pair, holder, open } = await scene(t);
  pair.automatic();
  holder.pace = () => Promise.reject(new Error('secret path'));
  const error = await t.throwsAsync(open(), { instanceOf: FedgateError });
  t.is(error?.reason, 'PEER_UNREACHABLE');
  t.false(error?.message.includes('secret'));
});

test('files lane: when the right ends in mid-piece the reader hears of it at once, and nothing more comes', async t => {
  const { pair, holder, open } = await scene(t);
  pair.automatic();
  const download = await open();
  const reading = (async () => {
    for await (const _ of download.readPiece(0, 0, forever)) {
      holder.opened[0]?.end(new FedgateError('SHARE_ENDED', 'unshared', { metadata: { why: 'unshared' } }));
      await settle();
    }
  })();
  await refused(t, reading, 'SHARE_ENDED');
  t.true(download.ended.aborted);
  t.is((download.ended.reason as FedgateError).reason, 'SHARE_ENDED');
  t.is(holder.opened[0]?.complete, false);
  await refused(t, readAll(download, 1), 'SHARE_ENDED');
  t.true((holder.opened[0]?.bytesRead ?? 0) <= MIB);
});

test('files lane: the end of the link ends every download and every opening with PEER_UNREACHABLE', async t => {
  const { pair, holder, asking, open } = await scene(t);
  pair.automatic();
  const download = await open();
  holder.pace = () => new Promise(() => undefined);
  const reading = readAll(download, 0);
  const opening = open();
  await settle();
  pair.cut();
  await Promise.all([refused(t, reading, 'PEER_UNREACHABLE'), refused(t, opening, 'PEER_UNREACHABLE')]);
  t.is((download.ended.reason as FedgateError).reason, 'PEER_UNREACHABLE');
  t.is(holder.opened[0]?.complete, false);
  await refused(t, asking.session.ask('x', request(), forever), 'PEER_UNREACHABLE');
});

test('files lane: an opening that is given up is closed at the holder, whichever came first', async t => {
  const { pair, holder, asking } = await scene(t);
  pair.automatic();
  let go: () => void = () => undefined;
  holder.pace = () => new Promise(resolve => (go = resolve));
  const giveUp = new AbortController();
  const opening = asking.session.ask('x', request(), giveUp.signal);
  await settle();
  giveUp.abort();
  await refused(t, opening, 'CANCELLED');
  await settle();
  go();
  await settle();
  t.is(holder.openNow, 0);
  t.deepEqual(asking.alarms, []);
  await refused(t, asking.session.ask('x', request(), AbortSignal.abort()), 'CANCELLED');
});

test('files lane: a reading that is given up says so, and the piece can be read again', async t => {
  const { pair, open } = await scene(t);
  pair.automatic();
  const download = await open();
  const giveUp = new AbortController();
  const reading = (async () => {
    for await (const _ of download.readPiece(0, 0, giveUp.signal)) giveUp.abort();
  })();
  await refused(t, reading, 'CANCELLED');
  t.true((await readAll(download, 0)).equals(bytesAt(0, 0, MIB)));
});

test('files lane: what a reader left early is dropped and does not use up the window', async t => {
  const { pair, open, asking } = await scene(t, 200 * MIB, MIB);
  pair.automatic();
  const download = await open();
  for (let piece = 0; piece < 100; piece++) {
    for await (const chunk of download.readPiece(piece, 0, forever)) {
      t.is(chunk.length, 256 * 1024);
      break;
    }
  }
  t.true((await readAll(download, 150)).equals(bytesAt(150, 0, MIB)));
  t.deepEqual(asking.alarms, []);
});

test('files lane: a reader that does not read stops the holder at the window', async t => {
  const { pair, holder, open } = await scene(t, 64 * MIB, 4 * MIB);
  pair.automatic();
  const download = await open();
  const readers = Array.from({ length: 16 }, (_, piece) =>
    download.readPiece(piece, 0, forever)[Symbol.asyncIterator](),
  );
  const first = readers.map(reader => reader.next().catch(() => undefined));
  await first[0];
  await settle();
  await settle();
  const read = holder.opened[0]?.bytesRead ?? 0;
  t.true(read >= SESSION_WINDOW_BYTES - 4 * MIB && read <= SESSION_WINDOW_BYTES + MIB, `${read / MIB} MiB were read`);
  download.close(false);
});

test('files lane: many downloads at once share the window of the peer, and all of them end', async t => {
  const { pair, holder, open } = await scene(t, 3 * MIB, MIB);
  pair.automatic();
  const downloads = await Promise.all(Array.from({ length: 100 }, () => open()));
  let most = 0;
  const look = setInterval(() => {
    const read = holder.opened.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
    most = Math.max(most, read - taken);
  }, 1);
  let taken = 0;
  t.teardown(() => clearInterval(look));
  const readOne = async (download: Download): Promise<void> => {
    for (const piece of [0, 1, 2])
      for await (const chunk of download.readPiece(piece, 0, forever)) {
        taken += chunk.length;
        await new Promise(resolve => setImmediate(resolve));
      }
    download.close(true);
  };
  await Promise.all(downloads.map(readOne));
  t.is(taken, 300 * MIB);
  // What the holder read ahead of its turn comes on top.
  t.true(most <= PEER_WINDOW_BYTES + 100 * MIB, `${most / MIB} MiB`);
});

test('files lane: data goes round between the downloads, so that a small one does not wait for a large one', async t => {
  const { pair, open } = await scene(t, 64 * MIB, 16 * MIB);
  const [large, small] = [open(), open()];
  pair.automatic();
  const [big, little] = await Promise.all([large, small]);
  const order: string[] = [];
  const first = (async () => {
    for await (const _ of big.readPiece(0, 0, forever)) order.push('big');
  })();
  const second = (async () => {
    for await (const _ of little.readPiece(0, 15 * MIB, forever)) order.push('little');
  })();
  await Promise.all([first, second]);
  t.true(order.lastIndexOf('little') < 24, order.slice(0, 30).join(' '));
});

test('files lane: a lane that takes nothing holds no more than what is read ahead', async t => {
  const { pair, holder, open } = await scene(t, 64 * MIB, 16 * MIB);
  pair.automatic();
  const download = await open();
  pair.block('b', true);
  const reading = readAll(download, 0);
  await settle();
  t.true((holder.opened[0]?.bytesRead ?? 0) <= MIB, String(holder.opened[0]?.bytesRead));
  pair.block('b', false);
  t.is((await reading).length, 16 * MIB);
});

test('files lane: a share that is only looked at has no pieces', async t => {
  const { pair, holder, open } = await scene(t);
  pair.automatic();
  const download = await open({ look: true });
  t.is(download.manifest.size, holder.manifest.size);
  await t.throwsAsync(readAll(download, 0));
  t.is(holder.opened[0]?.bytesRead, 0);
});

test('files lane: an empty content has no piece, and there is none behind the last', async t => {
  const { pair, open } = await scene(t, 0);
  pair.automatic();
  const download = await open();
  t.is(download.manifest.pieces.length, 0);
  await refused(t, readAll(download, 0), 'OFFSET_INVALID');
  const other = await scene(t, MIB);
  other.pair.automatic();
  const one = await other.open();
  await refused(t, readAll(one, 1), 'OFFSET_INVALID');
  await refused(t, readAll(one, 0, MIB + 1), 'OFFSET_INVALID');
});

test('files lane: a manifest of the largest size fits', async t => {
  const { pair, holder, open } = await scene(t, 65_536 * MIB);
  pair.automatic();
  const download = await open();
  t.deepEqual(download.manifest, holder.manifest);
  t.true((await readAll(download, 65_535)).equals(bytesAt(65_535, 0, MIB)));
});

test('files lane: a piece that cannot be read ends the download with FILE_DAMAGED, and so do too many or too few bytes', async t => {
  for (const read of [
    () => {
      throw new FedgateError('FILE_DAMAGED', 'bit rot');
    },
    (piece: number, offset: number, length: number) => bytesAt(piece, offset, length + 1),
    (piece: number, offset: number, length: number) => bytesAt(piece, offset, length - 1),
  ]) {
    const { pair, holder, open } = await scene(t);
    pair.automatic();
    holder.read = read;
    await refused(t, readAll(await open(), 0), 'FILE_DAMAGED');
    t.is(holder.openNow, 0);
  }
});

test('files lane: there are so many downloads at a time and no more, and ten thousand in a row leave nothing behind', async t => {
  const { pair, holder, open, asking, holding } = await scene(t, 0);
  pair.automatic();
  const downloads = await Promise.all(Array.from({ length: MAX_SESSIONS }, () => open()));
  await refused(t, open(), 'LIMIT_REACHED');
  for (const download of downloads) download.close(false);
  for (let i = 0; i < 100; i++)
    await Promise.all(Array.from({ length: 100 }, async () => (await open({ look: true })).close(true)));
  await settle();
  t.deepEqual([asking.session.open, holding.session.open, holder.openNow], [0, 0, 0]);
});

test('files lane: a holder that sends nothing is given up, at both ends', async t => {
  const { pair, holder, asking, holding, open } = await scene(t);
  pair.automatic();
  const download = await open();
  holder.pace = () => new Promise(() => undefined);
  const reading = readAll(download, 0);
  await settle();
  asking.pass(59_000);
  t.false(download.ended.aborted);
  asking.pass(2_000);
  await refused(t, reading, 'TRANSFER_STALLED');
  await settle();
  t.is(holder.opened[0]?.complete, false);
  holder.pace = () => undefined;
  const other = await open();
  holder.pace = () => new Promise(() => undefined);
  const second = readAll(other, 0);
  await settle();
  holding.pass(61_000);
  await refused(t, second, 'TRANSFER_STALLED');
});

test('files lane: a byte now and then is no progress', async t => {
  const { pair, holder, asking, open } = await scene(t);
  pair.automatic();
  holder.chunkBytes = 1;
  const steps: (() => void)[] = [];
  const download = await open();
  holder.pace = () => new Promise(resolve => steps.push(resolve));
  const reading = readAll(download, 0);
  for (let minute = 0; minute < 3 && !download.ended.aborted; minute++) {
    await settle();
    steps.shift()?.();
    await settle();
    asking.pass(50_000);
  }
  await refused(t, reading, 'TRANSFER_STALLED');
});

test('files lane: an asker that does not read is given up by the holder, one that wants nothing later', async t => {
  const { pair, holder, holding, open } = await scene(t, 32 * MIB, 16 * MIB);
  pair.automatic();
  const slow = await open();
  const reader = slow.readPiece(0, 0, forever)[Symbol.asyncIterator]();
  const other = slow.readPiece(1, 0, forever)[Symbol.asyncIterator]();
  await reader.next();
  void other.next().catch(() => undefined);
  const idle = await open();
  await settle();
  await settle();
  holding.pass(61_000);
  await settle();
  t.is((slow.ended.reason as FedgateError).reason, 'TRANSFER_STALLED');
  t.false(idle.ended.aborted);
  holding.pass(600_000);
  await settle();
  t.is((idle.ended.reason as FedgateError).reason, 'TRANSFER_STALLED');
  t.is(holder.openNow, 0);
});

test('files lane: an opening that is not answered is given up', async t => {
  const { pair, holder, asking, open } = await scene(t);
  pair.automatic();
  holder.pace = () => new Promise(() => undefined);
  const opening = open();
  await settle();
  asking.pass(61_000);
  await refused(t, opening, 'TRANSFER_STALLED');
});

test('files lane: after a drain nothing is opened, and what is open goes on', async t => {
  const { pair, holding, open } = await scene(t);
  pair.automatic();
  const download = await open();
  holding.session.drain();
  await refused(t, open(), 'DRAINING');
  t.is((await readAll(download, 0)).length, MIB);
});

test('files lane: credit is given in steps, for what is wanted and no more', async t => {
  const { pair, open } = await scene(t, 32 * MIB, 16 * MIB);
  pair.automatic();
  const granted: bigint[] = [];
  pair.tap('a', bytes => {
    const frame = otherFrame(bytes);
    if (frame?.$case === 'fileCredit') granted.push(frame.value.bytes);
  });
  const download = await open();
  await readAll(download, 0, 15 * MIB);
  t.deepEqual(granted, [BigInt(MIB)]);
  await readAll(download, 1);
  t.is(granted.at(-1), BigInt(17 * MIB));
  t.deepEqual(
    granted,
    [...granted].sort((x, y) => Number(x - y)),
  );
});

test('credit pool: never more is out than fits, and everything that is wanted comes', t => {
  const steps = fc.array(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 16 * MIB })), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(steps, fc.array(fc.nat(60), { maxLength: 10 }), (wants, leaving) => {
      const pool = new CreditPool();
      const users = Array.from({ length: 61 }, () => new User());
      const within = (): void => {
        const held = users.reduce((sum, user) => sum + user.held, 0);
        if (held !== pool.held || held > PEER_WINDOW_BYTES)
          throw new Error(`${held} bytes are out, ${pool.held} counted`);
        if (users.some(user => user.held > SESSION_WINDOW_BYTES || user.uncovered < 0))
          throw new Error('too much for one');
      };
      for (const [who, bytes] of wants) {
        const user = users[who] as User;
        user.uncovered += bytes;
        pool.want(user);
        within();
      }
      for (const who of leaving) {
        const user = users[who] as User;
        pool.remove(user);
        user.held = user.uncovered = 0;
        within();
      }
      // Readers take what came, in no special order, until nothing is wanted.
      for (let i = 0; users.some(user => user.held > 0); i = (i + 7) % 61) {
        const user = users[i] as User;
        const taken = Math.min(user.held, 256 * 1024);
        if (taken === 0) continue;
        user.held -= taken;
        pool.release(user, taken);
        within();
      }
      t.deepEqual(
        users.map(({ uncovered }) => uncovered),
        users.map(() => 0),
      );
    }),
    { numRuns: 100 },
  );
  t.true(MIN_WINDOW_BYTES * 32 <= PEER_WINDOW_BYTES);
});

class User {
  uncovered = 0;
  held = 0;
  grant(bytes: number): void {
    this.uncovered -= bytes;
    this.held += bytes;
  }
}
