import test from 'ava';
import { Transfers, type TransferView } from '../../src/files/transfers.js';

const START = { kind: 'fetch', shareId: 's', name: 'n', org: 'ACME', node: 'erp', totalBytes: 100 } as const;

test('transfers: a watcher hears of those under way, of changes at a bounded rate, and of the end', async t => {
  const transfers = new Transfers(() => 7);
  const running = transfers.begin(START);
  const stop = new AbortController();
  const heard: Pick<TransferView, 'state' | 'doneBytes' | 'receivedBytes'>[] = [];
  let busy: NodeJS.Timeout | undefined;
  const began = performance.now();
  for await (const { state, doneBytes, receivedBytes } of transfers.watch(() => true, stop.signal)) {
    heard.push({ state, doneBytes, receivedBytes });
    busy ??= setInterval(() => {
      running.done(1);
      running.received(1);
      if (running.doneBytes === 100) running.end();
    }, 10);
    if (state !== 'active') break;
  }
  clearInterval(busy);
  t.deepEqual(heard[0], { state: 'active', doneBytes: 0, receivedBytes: 0 });
  t.is(heard.at(-1)?.state, 'done');
  t.true((heard.at(-1)?.doneBytes ?? 0) >= 100);
  // One at once, then one each half second.
  t.true(heard.length <= 2 + (performance.now() - began) / 500, `${heard.length}`);
});

test('transfers: one that began and ended between two tellings is heard of once, as ended', async t => {
  const transfers = new Transfers(() => 7);
  const watch = transfers.watch(() => true, new AbortController().signal);
  const first = watch.next();
  transfers.begin({ ...START, node: 'a' }).end('broken');
  t.like((await first).value, { node: 'a', state: 'ended', error: 'broken' });
  await watch.return(undefined);
});

test('transfers: an end is told once, also to a watcher who is slow, and whatever comes in behind it', async t => {
  const transfers = new Transfers(() => 7);
  const all = ['a', 'b', 'c'].map(node => transfers.begin({ ...START, node }));
  const ended: string[] = [];
  let active = 0;
  for await (const { node, state } of transfers.watch(() => true, new AbortController().signal)) {
    if (state === 'active') active++;
    else ended.push(node);
    // While the first is told of, all end; what ends last is told last.
    for (const transfer of all) transfer.end();
    for (const transfer of all) transfer.received(1);
    if (ended.length === 2) transfers.begin({ ...START, node: 'last' }).end();
    if (node === 'last') break;
  }
  t.is(active, 1);
  t.deepEqual(ended, ['b', 'c', 'a', 'last']);
});

test('transfers: who is not to hear of one does not, and the signal ends the watching with its reason', async t => {
  const transfers = new Transfers(() => 7);
  transfers.begin({ ...START, node: 'other' });
  const stop = new AbortController();
  const watch = transfers.watch(({ node }) => node === 'erp', stop.signal);
  const next = watch.next();
  transfers.begin(START);
  t.is((await next).value.node, 'erp');
  const more = watch.next();
  stop.abort(new Error('over'));
  await t.throwsAsync(more, { message: 'over' });
});
