import test from 'ava';
import { FedgateError } from '../../../src/errors.js';
import { key } from '../../../src/store/keys.js';
import { ACME, block, outgoing, received, TestLog } from '../../support/inbox.js';

const reasonOf = (error: unknown): string => (error instanceof FedgateError ? error.reason : String(error));

test('receive: body, rows and watermark are one change', async t => {
  const { store, log } = await TestLog.open();
  t.is(log.watermark(ACME), undefined);
  const stored = log.receive(received(1));
  t.is(log.watermark(ACME), undefined, 'nothing is told before it is stored');
  t.is(log.end, 1);
  await stored;
  t.deepEqual(log.watermark(ACME), { epoch: 1n, sequence: 1 });
  t.is(log.end, 2);
  t.is(store.commits, 1);
  const written = [...store.disk.tables].filter(([, { rows }]) => rows.size === 1).map(([name]) => name);
  t.deepEqual(written.sort(), ['certificate', 'log', 'log-channel', 'remembered', 'watermark']);
  t.is(store.disk.bodies.size, 1);
});

test('receive: the next sequence, or a higher epoch from 1; nothing else', async t => {
  const { log } = await TestLog.open();
  const tried = async (epoch: bigint, sequence: number) =>
    log.receive(received(sequence, { epoch })).then(() => 'stored', reasonOf);
  const all: [bigint, number, string][] = [
    [5n, 2, 'FRAME_UNEXPECTED'],
    [5n, 1, 'stored'],
    [5n, 1, 'REPLAYED'],
    [5n, 3, 'FRAME_UNEXPECTED'],
    [5n, 2, 'stored'],
    [4n, 1, 'REPLAYED'],
    [4n, 3, 'REPLAYED'],
    [6n, 3, 'FRAME_UNEXPECTED'],
    [6n, 1, 'stored'],
    [5n, 3, 'REPLAYED'],
  ];
  for (const [epoch, sequence, outcome] of all) t.is(await tried(epoch, sequence), outcome, `${epoch}/${sequence}`);
  t.deepEqual(log.watermark(ACME), { epoch: 6n, sequence: 1 });
  t.is(log.end, 4);
});

test('receive: several under way are in the order of the calls, each stream with its own watermark', async t => {
  const test = await TestLog.open();
  const other = { ...ACME, gateway: 'gw2' };
  const heard: number[] = [];
  test.log.onAppended(entry => heard.push(entry.offset));
  await Promise.all([
    test.log.receive(received(1, { records: block('a', 'b') })),
    test.log.receive(received(1, { from: other, channel: 'bills' })),
    test.log.receive(received(2)),
  ]);
  t.deepEqual(await test.lines(), ['1 orders: 2 x 10', '3 bills: 1 x 12', '4 orders: 1 x 12']);
  t.deepEqual(heard, [1, 3, 4]);
  t.deepEqual(test.log.watermark(other), { epoch: 1n, sequence: 1 });
});

test('receive: when a commit fails all that was under way fails, and numbers go back to what is stored', async t => {
  const test = await TestLog.open();
  await test.log.receive(received(1));
  test.store.failures = 1;
  const failed = [2, 3].map(sequence => test.log.receive(received(sequence)).then(() => 'stored', reasonOf));
  const published = test.log.append(outgoing('own', block('x'))).then(() => 'stored', reasonOf);
  t.deepEqual(await Promise.all([...failed, published]), ['STORE_FAILED', 'STORE_FAILED', 'STORE_FAILED']);
  t.deepEqual(test.log.watermark(ACME), { epoch: 1n, sequence: 1 });
  await test.log.receive(received(2));
  t.deepEqual(await test.lines(), ['1 orders: 1 x 12', '2 orders: 1 x 12']);
  t.deepEqual(await (await test.reopen()).lines(), ['1 orders: 1 x 12', '2 orders: 1 x 12']);
});

test('receive: between two failures that belong together nothing new is numbered wrongly', async t => {
  const test = await TestLog.open();
  await test.log.receive(received(1));
  test.store.failures = 1;
  const retried = test.log.receive(received(2)).catch(() => test.log.receive(received(2)));
  const lost = test.log.receive(received(3)).then(() => 'stored', reasonOf);
  await retried;
  t.is(await lost, 'STORE_FAILED');
  await test.log.receive(received(3));
  t.deepEqual(
    (await test.all()).map(({ offset }) => offset),
    [1, 2, 3],
  );
});

test('receive: withheld records are a gap of their number, refused ones are no entry; both move the watermark', async t => {
  const test = await TestLog.open();
  await test.log.receive(received(1, { withheld: 'expired', recordCount: 7 }));
  await test.log.receive(received(2, { withheld: 'lost', recordCount: 3 }));
  const refusal = new FedgateError('NOT_GRANTED', 'no', { metadata: { channel: 'orders' } });
  await test.log.receive(received(3, { refusal }));
  await test.log.receive(received(4));
  t.deepEqual(await test.lines(), ['1 orders: expired', '8 orders: gap', '11 orders: 1 x 12']);
  const remembered = await test.log.remembered(ACME, 1n, 2, 4);
  t.deepEqual(
    remembered.map(batch => batch?.refusal?.reason),
    [undefined, 'NOT_GRANTED', undefined],
  );
  t.deepEqual(remembered[1]?.refusal?.metadata, { channel: 'orders' });
});

test('receive: what was held back is a gap also when the receipt calls it refused', async t => {
  const test = await TestLog.open();
  const refusal = new FedgateError('EXPIRED', 'too late');
  await test.log.receive(received(1, { withheld: 'expired', recordCount: 2, refusal }));
  t.deepEqual(await test.lines(), ['1 orders: expired']);
  t.is((await test.log.remembered(ACME, 1n, 1, 1))[0]?.refusal?.reason, 'EXPIRED');
});

test('receive: what speaks to the gateway is no entry, and its rows are in the same change', async t => {
  const test = await TestLog.open();
  await test.log.receive(received(1, { channel: '$notices' }), change => change.put('x', key('a'), Buffer.from('b')));
  t.is(test.log.end, 1);
  t.deepEqual(test.log.watermark(ACME), { epoch: 1n, sequence: 1 });
  t.is((await test.store.get('x', key('a')))?.toString(), 'b');
  t.is(test.store.commits, 1);
});

test('receive: a restart finds watermarks, entries and the end', async t => {
  const test = await TestLog.open();
  await test.log.receive(received(1));
  await test.log.receive(received(2));
  const again = await test.reopen();
  t.deepEqual(again.log.watermark(ACME), { epoch: 1n, sequence: 2 });
  t.is(again.log.end, 3);
  await again.log.receive(received(3));
  t.is((await again.lines()).length, 3);
});

test('remembered: confirmed batches are forgotten, those behind are not', async t => {
  const test = await TestLog.open();
  for (let sequence = 1; sequence <= 300; sequence++)
    await test.log.receive(received(sequence, { channel: '$x' }), () => undefined);
  test.log.confirmed(ACME, { epoch: 1n, sequence: 280 });
  await test.log.receive(received(301));
  const remembered = await test.log.remembered(ACME, 1n, 279, 282);
  t.deepEqual(
    remembered.map(batch => batch !== undefined),
    [false, false, true, true],
  );
});

test('skip: the watermark moves, and everybody who reads sees a gap', async t => {
  const test = await TestLog.open();
  await test.log.receive(received(1));
  await test.log.skip(ACME, { epoch: 1n, sequence: 9 });
  await test.log.skip(ACME, { epoch: 1n, sequence: 5 });
  await test.log.receive(received(10, { channel: 'bills' }));
  t.deepEqual(await test.lines(), ['1 orders: 1 x 12', '2 : gap', '3 bills: 1 x 13']);
  t.deepEqual(test.events, [
    { kind: 'skipped', from: ACME, after: { epoch: 1n, sequence: 1 }, to: { epoch: 1n, sequence: 9 } },
  ]);
  const again = await test.reopen();
  t.deepEqual(again.log.watermark(ACME), { epoch: 1n, sequence: 10 });
});
