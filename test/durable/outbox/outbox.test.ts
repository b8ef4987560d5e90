import test from 'ava';
import { BatchHeader } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { OutboxRow } from '../../../gen/ts/fedgate/store/v1/outbox.js';
import { MAX_CONTROL_BYTES } from '../../../src/durable/control.js';
import type { OutboxesOptions } from '../../../src/durable/outbox/outboxes.js';
import type { ControlRefused, OutgoingRecords, SealedDurable, SentBatch } from '../../../src/durable/types.js';
import { FedgateError, type Reason } from '../../../src/errors.js';
import { type BodyRef, Change } from '../../../src/store/store.js';
import { readRecords } from '../../../src/wire/record-codec.js';
import { MAX_FRAME_BYTES } from '../../../src/wire/records.js';
import { recordBlock } from '../../support/attack.js';
import {
  ACME,
  connect,
  DurableSide,
  GLOBEX,
  issueTestIdentity,
  outgoing,
  testIdentity,
} from '../../support/durable-side.js';
import { TestStore } from '../../support/test-store.js';

const forever = new AbortController().signal;
const MIB = 1024 * 1024;
const LIMITS = { outboxBytes: 64 * MIB, keepSentMs: 7 * 86_400_000, keepSentBytes: 64 * MIB };

const open = async (store = new TestStore(), options: Partial<OutboxesOptions> = {}) =>
  DurableSide.open(await testIdentity(ACME), store, options);
const globex = async () => DurableSide.open(await testIdentity(GLOBEX), new TestStore());

/** The next batches that the link would get. */
async function take(side: DurableSide, count: number): Promise<SealedDurable[]> {
  const stop = new AbortController();
  const batches: SealedDurable[] = [];
  const outbox = side.to(GLOBEX);
  for await (const batch of outbox.read(outbox.unreceipted, stop.signal)) {
    batches.push(batch);
    if (batches.length === count) stop.abort();
  }
  return batches;
}

const texts = (batches: readonly SealedDurable[]): string[] =>
  batches.flatMap(({ records, withheld }) =>
    records ? readRecords(records).map(({ text }) => text) : [`(${withheld})`],
  );

const rejects = async (t: { is(a: unknown, b: unknown): unknown }, promise: Promise<unknown>, reason: Reason) => {
  const error = await promise.then(
    () => undefined,
    thrown => thrown,
  );
  t.is(error instanceof FedgateError ? error.reason : error, reason);
  return error as FedgateError;
};

test('outbox: what one turn publishes to a channel is one batch, in the order of the calls', async t => {
  const acme = await open();
  const outbox = acme.to(GLOBEX);
  const calls = ['a1', 'b1', 'a2', 'b2'].map(text => outbox.append(outgoing(text, { channel: text.slice(0, 1) })));
  const positions = await Promise.all(calls);
  t.deepEqual(
    positions.map(({ sequence }) => sequence),
    [1, 2, 1, 2],
  );
  t.deepEqual(texts(await take(acme, 2)), ['a1', 'a2', 'b1', 'b2']);
  t.deepEqual({ ...outbox.waiting, oldestMs: 0 }, { batches: 2, records: 4, bytes: outbox.waiting.bytes, oldestMs: 0 });
});

test('outbox: what differs in its terms does not share a batch', async t => {
  const outbox = (await open()).to(GLOBEX);
  const terms: Partial<OutgoingRecords>[] = [{}, { ttlMs: 1_000 }, { notifyConsumed: true }, { senderNode: 'other' }];
  const positions = await Promise.all(terms.map(more => outbox.append(outgoing('x', more))));
  t.is(new Set(positions.map(({ sequence }) => sequence)).size, 4);
});

test('outbox: a restart finds what waits, with its numbers, and goes on', async t => {
  const store = new TestStore();
  const acme = await open(store);
  for (const text of ['1', '2', '3']) await acme.to(GLOBEX).append(outgoing(text));
  const { epoch } = acme.to(GLOBEX).next;
  await acme.close();
  const again = await open(await store.kill());
  t.deepEqual(again.to(GLOBEX).next, { epoch, sequence: 4 });
  t.is(again.to(GLOBEX).waiting.records, 3);
  t.true(again.to(GLOBEX).waiting.oldestMs > 0);
  await again.to(GLOBEX).append(outgoing('4'));
  t.deepEqual(texts(await take(again, 4)), ['1', '2', '3', '4']);
});

test('outbox: at its cap it takes no more, says when to try again, and takes more when there is room', async t => {
  const acme = await open(new TestStore(), { limits: { ...LIMITS, outboxBytes: 10_000 } });
  const outbox = acme.to(GLOBEX);
  const big = outgoing('x'.repeat(6_000));
  await outbox.append(big);
  const error = await rejects(t, outbox.append(big), 'OUTBOX_FULL');
  t.deepEqual(error.metadata, { limit: 'outbox', org: 'GLOBEX' });
  t.true((error.retryAfterMs ?? 0) > 0);
  await outbox.append(outgoing('small'));
  const pair = (await connect(acme, await globex())).automatic();
  t.teardown(() => pair.cut());
  await outbox.received({ ...outbox.next, sequence: outbox.next.sequence - 1 }, forever);
  await outbox.append(big);
});

test('outbox: a disk that fails tells all publishers, and numbers go back to what is stored', async t => {
  const store = new TestStore();
  const outbox = (await open(store)).to(GLOBEX);
  await outbox.append(outgoing('1'));
  store.failures = 1;
  const failed = [outbox.append(outgoing('2')), outbox.append(outgoing('3'))];
  for (const call of failed) await rejects(t, call, 'STORE_FAILED');
  t.is((await outbox.append(outgoing('4'))).sequence, 2);
  t.is(outbox.waiting.records, 2);
});

test('outbox: a repeated call is a duplicate, also after a restart, and its receipt is still known', async t => {
  const store = new TestStore();
  const acme = await open(store);
  const to = await globex();
  const pair = (await connect(acme, to)).automatic();
  const producer = (sequence: number) => ({ kind: 'producer' as const, id: 'p', epoch: 1, sequence });
  const first = await acme.to(GLOBEX).append(outgoing('1', { idempotency: producer(1) }));
  await acme.to(GLOBEX).received(first, forever);
  pair.cut();
  await acme.close();
  const again = await open(await store.kill());
  const outbox = again.to(GLOBEX);
  const repeated = await outbox.append(outgoing('1', { idempotency: producer(1) }));
  t.deepEqual(repeated, { ...first, duplicate: true });
  await outbox.received(repeated, forever);
  const gap = await rejects(t, outbox.append(outgoing('3', { idempotency: producer(3) })), 'SEQUENCE_GAP');
  t.is(gap.metadata.expected, '2');
  t.is((await outbox.append(outgoing('2', { idempotency: producer(2) }))).duplicate, false);
});

test('outbox: what a full outbox refused of a producer takes its later calls along', async t => {
  const acme = await open(new TestStore(), { limits: { ...LIMITS, outboxBytes: 5_000 } });
  const outbox = acme.to(GLOBEX);
  const call = (sequence: number, bytes: number) =>
    outbox.append(outgoing('x'.repeat(bytes), { idempotency: { kind: 'producer', id: 'p', epoch: 1, sequence } }));
  const calls = [call(1, 10), call(2, 9_000), call(3, 10)];
  t.false((await calls[0])?.duplicate);
  await rejects(t, calls[1] as Promise<unknown>, 'OUTBOX_FULL');
  await rejects(t, calls[2] as Promise<unknown>, 'OUTBOX_FULL');
  t.false((await call(2, 10)).duplicate);
});

test('outbox: what expires while it waits is withheld, and whoever waits for it is told', async t => {
  let nowMs = Date.now();
  const acme = await open(new TestStore(), { now: () => nowMs });
  const outbox = acme.to(GLOBEX);
  const short = await outbox.append(outgoing('short', { ttlMs: 1_000 }));
  await outbox.append(outgoing('long'));
  const received = outbox.received(short, forever);
  nowMs += 2_000;
  await Promise.all([acme.outboxes.sweep(), rejects(t, received, 'EXPIRED')]);
  t.is(outbox.waiting.records, 1);
  t.deepEqual(acme.events, [{ kind: 'withheld', org: GLOBEX, why: 'expired', batches: 1, records: 1 }]);
  await rejects(t, outbox.received(short, forever), 'EXPIRED');
  const to = await globex();
  const pair = (await connect(acme, to)).automatic();
  t.teardown(() => pair.cut());
  await outbox.received({ ...short, sequence: 2 }, forever);
  t.deepEqual(
    (await to.lines()).map(({ text, gap }) => gap ?? text),
    ['expired', 'long'],
  );
});

test('outbox: what expired is not sent, although nobody swept', async t => {
  let nowMs = Date.now();
  const acme = await open(new TestStore(), { now: () => nowMs });
  await acme.to(GLOBEX).append(outgoing('short', { ttlMs: 1_000 }));
  nowMs += 2_000;
  t.deepEqual(texts(await take(acme, 1)), ['(expired)']);
});

test('outbox: a purge drops what waits, says how much, and the numbers are used up', async t => {
  const acme = await open();
  const outbox = acme.to(GLOBEX);
  const positions = [];
  for (const text of ['1', '2']) positions.push(await outbox.append(outgoing(text)));
  const waiting = positions.map(position => rejects(t, outbox.received(position, forever), 'PURGED'));
  t.deepEqual(await outbox.purge(), { batches: 2, records: 2 });
  await Promise.all(waiting);
  t.deepEqual({ ...outbox.waiting, oldestMs: 0 }, { batches: 2, records: 0, bytes: 0, oldestMs: 0 });
  t.deepEqual(await outbox.purge(), { batches: 0, records: 0 });
  await outbox.append(outgoing('3'));
  t.deepEqual(texts(await take(acme, 3)), ['(purged)', '(purged)', '3']);
});

test('outbox: a purge leaves what is on its way alone, and takes it once no lane carries it any more', async t => {
  const acme = await open();
  const outbox = acme.to(GLOBEX);
  await outbox.append(outgoing('1'));
  const stop = new AbortController();
  const lane = outbox.read(outbox.unreceipted, stop.signal)[Symbol.asyncIterator]();
  await lane.next();
  await outbox.append(outgoing('2'));
  t.deepEqual(await outbox.purge(), { batches: 1, records: 1 });
  stop.abort();
  await lane.next();
  t.deepEqual(await outbox.purge(), { batches: 1, records: 1 });
});

test('outbox: paused, it sends nothing, also after a restart; then it goes on', async t => {
  const store = new TestStore();
  const before = await open(store);
  await before.to(GLOBEX).append(outgoing('1'));
  await before.to(GLOBEX).setPaused(true);
  await before.close();
  const acme = await open(await store.kill());
  t.true(acme.to(GLOBEX).paused);
  const to = await globex();
  const pair = (await connect(acme, to)).automatic();
  t.teardown(() => pair.cut());
  const position = await acme.to(GLOBEX).append(outgoing('2'));
  t.deepEqual(await to.texts(), []);
  await acme.to(GLOBEX).setPaused(false);
  await acme.to(GLOBEX).received(position, forever);
  t.deepEqual(await to.texts(), ['1', '2']);
});

/** The body of a batch on the disk. */
async function bodyOf(store: TestStore, sequence: number): Promise<BodyRef> {
  const rows = await store.scan('outbox', { limit: 100 });
  const body = rows.map(({ value }) => OutboxRow.decode(value).body)[sequence - 1];
  if (!body) throw new RangeError('no body');
  return body;
}

test('outbox: records that went bad on the disk are withheld and said to be lost, and the rest is sent', async t => {
  const store = new TestStore();
  const before = await open(store);
  for (const text of ['1', '2', '3']) await before.to(GLOBEX).append(outgoing(text));
  await before.close();
  const acme = await open(await store.kill());
  acme.store.damage(await bodyOf(acme.store, 2));
  const outbox = acme.to(GLOBEX);
  t.deepEqual(texts(await take(acme, 3)), ['1', '(lost)', '3']);
  t.is(outbox.waiting.records, 2);
  await rejects(t, outbox.received({ epoch: outbox.newestEpoch, sequence: 2 }, forever), 'BODY_UNREADABLE');
});

test('outbox: what has a receipt is kept as long and as much as configured, then goes with its receipt', async t => {
  let nowMs = Date.now();
  const limits = { outboxBytes: MIB, keepSentMs: 10_000, keepSentBytes: MIB };
  const store = new TestStore();
  const acme = await open(store, { now: () => nowMs, limits });
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, await globex())).automatic();
  t.teardown(() => pair.cut());
  for (let i = 0; i < 6; i++) await outbox.received(await outbox.append(outgoing('x'.repeat(100))), forever);
  const counts = async () =>
    Promise.all(['outbox', 'receipt'].map(async table => (await store.scan(table, { limit: 100 })).length));
  // The last receipt is heard of before it is stored.
  while (outbox.receipted?.sequence !== 6) await new Promise(resolve => setImmediate(resolve));
  t.deepEqual(await counts(), [6, 6]);
  // Not before: the outboxes sweep by themselves too.
  limits.keepSentBytes = 300;
  await acme.outboxes.sweep();
  t.deepEqual(await counts(), [2, 2]);
  t.truthy(await outbox.refetch({ epoch: outbox.newestEpoch, sequence: 6 }));
  t.is(await outbox.refetch({ epoch: outbox.newestEpoch, sequence: 1 }), undefined);
  nowMs += 20_000;
  await acme.outboxes.sweep();
  t.deepEqual(await counts(), [0, 0]);
  t.is((await store.stats()).bodyBytes.get('outbox-GLOBEX') ?? 0, 0);
  await outbox.received({ epoch: outbox.newestEpoch, sequence: 1 }, forever);
});

test('outbox: what an older key signed is signed again, because the receiver knows the certificate of the link', async t => {
  const store = new TestStore();
  const before = await open(store);
  await before.to(GLOBEX).append(outgoing('1'));
  await before.close();
  const renewed = await issueTestIdentity(ACME);
  const acme = await DurableSide.open(renewed, await store.kill());
  const to = await globex();
  const pair = (await connect(acme, to)).automatic();
  t.teardown(() => pair.cut());
  await acme.to(GLOBEX).received(await acme.to(GLOBEX).append(outgoing('2')), forever);
  t.deepEqual(await to.texts(), ['1', '2']);
});

const consumed = (epoch: bigint, sequence: number) => ({
  event: {
    $case: 'consumed' as const,
    value: { streamEpoch: epoch, sequence: BigInt(sequence), subscription: 's' },
  },
});

test('outbox: a notice is told when its change is committed, once, whatever dies in between; else never', async t => {
  const store = new TestStore();
  const acme = await open(store);
  const failing = new Change();
  acme.to(GLOBEX).appendNotice(failing, consumed(1n, 1));
  store.failures = 1;
  await rejects(t, store.commit(failing), 'STORE_FAILED');
  const change = new Change();
  acme.to(GLOBEX).appendNotice(change, consumed(1n, 2));
  await store.commit(change);
  const again = await open(await store.kill());
  await acme.close();
  t.is((await take(again, 1))[0]?.records?.count, 1);
  t.is(again.to(GLOBEX).waiting.batches, 1);
  t.deepEqual(await again.store.scan('notice', { limit: 10 }), []);
});

test('outbox: records of a reserved channel are told when their change is committed, once, whatever dies in between', async t => {
  const store = new TestStore();
  const acme = await open(store);
  const failing = new Change();
  acme.to(GLOBEX).appendControl(failing, '$approvals', Buffer.from('never'));
  store.failures = 1;
  await rejects(t, store.commit(failing), 'STORE_FAILED');
  const change = new Change();
  for (const text of ['1', '2', '3']) acme.to(GLOBEX).appendControl(change, '$approvals', Buffer.from(text));
  acme.to(GLOBEX).appendNotice(change, consumed(1n, 2));
  await store.commit(change);
  const again = await open(await store.kill());
  await acme.close();
  const sent = await take(again, 2);
  const said = sent.map(({ header, records }) => ({
    channel: BatchHeader.decode(header).channel,
    texts: records && readRecords(records).map(({ text }) => text),
  }));
  t.deepEqual(said.map(({ channel }) => channel).sort(), ['$approvals', '$notices']);
  t.deepEqual(said.find(({ channel }) => channel === '$approvals')?.texts, ['1', '2', '3']);
  for (const table of ['notice', 'outbox-approval']) t.deepEqual(await again.store.scan(table, { limit: 10 }), []);
});

test('outbox: a record whose change is committed while one before it is being sent does not wait for the next', async t => {
  const store = new TestStore();
  const acme = await open(store);
  const outbox = acme.to(GLOBEX);
  const say = (text: string): void => {
    const change = new Change();
    outbox.appendControl(change, '$approvals', Buffer.from(text));
    void store.commit(change);
  };
  const turn = () => new Promise(resolve => setImmediate(resolve));
  say('1');
  while (outbox.waiting.batches === 0) await turn();
  await turn();
  store.manual = true;
  say('2');
  while (store.waiting < 2) await turn();
  say('3');
  await turn();
  // All but what was said last are on the disk when the outbox looks.
  store.flush('stored', 2);
  await turn();
  await turn();
  store.manual = false;
  const got: string[] = [];
  for await (const { records } of outbox.read(outbox.unreceipted, forever)) {
    got.push(...(records ? readRecords(records).map(({ text }) => text) : []));
    if (got.length === 3) break;
  }
  t.deepEqual(got, ['1', '2', '3']);
});

test('outbox: large records of a reserved channel are sent in order, in batches that fit into a frame', async t => {
  const acme = await open();
  const outbox = acme.to(GLOBEX);
  const change = new Change();
  const texts = Array.from({ length: 130 }, (_, i) => `${i} `.padEnd(64 * 1024, 'x'));
  for (const text of texts) outbox.appendControl(change, '$approvals', Buffer.from(text));
  outbox.appendControl(change, '$approvals', Buffer.alloc(MAX_CONTROL_BYTES, 'y'));
  t.throws(() => outbox.appendControl(change, '$approvals', Buffer.alloc(MAX_CONTROL_BYTES + 1)), {
    instanceOf: RangeError,
  });
  await acme.store.commit(change);
  const got: string[] = [];
  for await (const { records } of outbox.read(outbox.unreceipted, forever)) {
    if (!records) return t.fail();
    t.true(records.bytes.length < MAX_FRAME_BYTES);
    got.push(...readRecords(records).map(({ text }) => text));
    if (got.length > texts.length) break;
  }
  t.deepEqual(got, [...texts, 'y'.repeat(MAX_CONTROL_BYTES)]);
});

test('outbox: what a reserved channel said and was refused is told to the operator and to whom the channel belongs, and is no dead letter', async t => {
  const letters: string[] = [];
  const deadLetters = {
    refused: (_: Change, { channel }: SentBatch) => letters.push(channel),
    gaveUp: () => undefined,
  };
  const said: unknown[] = [];
  const controlRefused: ControlRefused = ({ org, channel, payloads, error }) => {
    said.push([org, channel, payloads.map(String), error.reason]);
    return () => said.push('committed');
  };
  const acme = await open(new TestStore(), { deadLetters, controlRefused });
  const to = await globex();
  to.approvals = {
    receive() {
      throw new FedgateError('LIMIT_REACHED', 'enough');
    },
  };
  const pair = (await connect(acme, to)).automatic();
  t.teardown(() => pair.cut());
  const outbox = acme.to(GLOBEX);
  const change = new Change();
  outbox.appendControl(change, '$approvals', Buffer.from('1'));
  await acme.store.commit(change);
  await rejects(t, outbox.received({ epoch: outbox.newestEpoch, sequence: 1 }, forever), 'LIMIT_REACHED');
  t.deepEqual(letters, []);
  t.deepEqual(said, [[GLOBEX, '$approvals', ['1'], 'LIMIT_REACHED'], 'committed']);
  t.deepEqual(
    acme.events.map(event => event.kind === 'refused' && event.error.reason),
    ['LIMIT_REACHED'],
  );
  t.is(outbox.waiting.batches, 0);
});

test('outbox: a notice of what was never sent is not believed', async t => {
  const acme = await open();
  const position = await acme.to(GLOBEX).append(outgoing('1'));
  const change = new Change();
  acme.to(GLOBEX).noticed(consumed(position.epoch, 1), change)();
  t.true(change.empty);
});

test('outbox: a notice that is faster than the receipt counts', async t => {
  const acme = await open();
  const position = await acme.to(GLOBEX).append(outgoing('1', { notifyConsumed: true }));
  await take(acme, 1);
  const waiting = acme.to(GLOBEX).consumed(position, forever);
  const change = new Change();
  const told = acme.to(GLOBEX).noticed(consumed(position.epoch, 1), change);
  await acme.store.commit(change);
  told();
  await waiting;
  await acme.to(GLOBEX).consumed(position, forever);
  t.is(acme.to(GLOBEX).receipted, undefined);
});

test('outbox: a record that was given up reaches those who wait and the dead letters', async t => {
  const gaveUp: unknown[] = [];
  const deadLetters = {
    refused: () => undefined,
    gaveUp: (_: Change, org: string, { reason }: { reason: string }) => void gaveUp.push([org, reason]),
  };
  const acme = await open(new TestStore(), { deadLetters });
  const pair = (await connect(acme, await globex())).automatic();
  t.teardown(() => pair.cut());
  const outbox = acme.to(GLOBEX);
  const position = await outbox.append(outgoing('1', { notifyConsumed: true }));
  await outbox.received(position, forever);
  const waiting = rejects(t, outbox.consumed(position, forever), 'DEAD_LETTERED');
  const value = {
    ...{ streamEpoch: position.epoch, sequence: 1n, record: 0, subscription: 's', reason: 'poison', deliveries: 3 },
    ...{ channel: 'orders/new', senderNode: 'billing' },
  };
  const change = new Change();
  const told = outbox.noticed({ event: { $case: 'deadLettered', value } }, change);
  await acme.store.commit(change);
  told();
  await waiting;
  t.deepEqual(gaveUp, [['GLOBEX', 'poison']]);
  await rejects(t, outbox.consumed(position, forever), 'DEAD_LETTERED');
  await outbox.received(position, forever);
});

test('outbox: a refusal is stored with its receipt, and the dead letters get the records', async t => {
  const refused: unknown[] = [];
  const deadLetters = {
    gaveUp: () => undefined,
    refused: (_: Change, batch: { channel: string }, records: unknown, error: FedgateError) =>
      void refused.push([batch.channel, records !== undefined, error.reason]),
  };
  const acme = await open(new TestStore(), { deadLetters });
  const to = await globex();
  to.refuse = () => new FedgateError('NOT_GRANTED', 'no');
  const pair = (await connect(acme, to)).automatic();
  t.teardown(() => pair.cut());
  const outbox = acme.to(GLOBEX);
  const position = await outbox.append(outgoing('1'));
  await rejects(t, outbox.received(position, forever), 'NOT_GRANTED');
  await rejects(t, outbox.received(position, forever), 'NOT_GRANTED');
  t.deepEqual(refused, [['orders/new', true, 'NOT_GRANTED']]);
  t.is(outbox.waiting.batches, 0);
});

test('outbox: a call that gives up waiting leaves nothing behind, and too many that wait are refused', async t => {
  const outbox = (await open()).to(GLOBEX);
  const position = await outbox.append(outgoing('1'));
  const stop = new AbortController();
  const waiting = rejects(t, outbox.received(position, stop.signal), 'CANCELLED');
  stop.abort(new FedgateError('CANCELLED', 'enough'));
  await waiting;
});

test('outbox: what waits is listed from the first', async t => {
  const outbox = (await open()).to(GLOBEX);
  for (const text of ['1', '2', '3']) await outbox.append(outgoing(text, { records: recordBlock(text, text) }));
  t.deepEqual(
    (await outbox.head(2)).map(({ sequence, recordCount, senderNode }) => [sequence, recordCount, senderNode]),
    [
      [1, 2, 'billing'],
      [2, 2, 'billing'],
    ],
  );
});

test('outbox: a backlog is read from the disk in order and in pieces, beside what is published meanwhile', async t => {
  const store = new TestStore();
  const before = await open(store);
  const text = (i: number): string => `${i} ${'x'.repeat(10_000)}`;
  for (let i = 0; i < 600; i++) await before.to(GLOBEX).append(outgoing(text(i)));
  await before.close();
  const acme = await open(await store.kill());
  const to = await globex();
  const pair = (await connect(acme, to)).automatic();
  t.teardown(() => pair.cut());
  const outbox = acme.to(GLOBEX);
  const late = await Promise.all([600, 601].map(i => outbox.append(outgoing(text(i)))));
  for (const position of late) await outbox.received(position, forever);
  t.deepEqual(
    (await to.texts()).map(Number.parseFloat),
    Array.from({ length: 602 }, (_, i) => i),
  );
});
