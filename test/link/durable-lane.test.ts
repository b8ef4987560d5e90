import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import type { ApprovalsPort } from '../../src/link/control-receiver.js';
import { Change } from '../../src/store/store.js';
import { otherFrame, recordBlock } from '../support/attack.js';
import { ACME, connect, DurableSide, GLOBEX, outgoing, testIdentity } from '../support/durable-side.js';
import { TestStore } from '../support/test-store.js';

const forever = new AbortController().signal;

async function sides() {
  return {
    acme: await DurableSide.open(await testIdentity(ACME), new TestStore()),
    globex: await DurableSide.open(await testIdentity(GLOBEX), new TestStore()),
  };
}

test('durable lane: what is stored arrives in order, once, and gets a receipt', async t => {
  const { acme, globex } = await sides();
  const outbox = acme.to(GLOBEX);
  const early = await Promise.all(['1', '2', '3'].map(text => outbox.append(outgoing(text))));
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  const late = await Promise.all(['4', '5'].map(text => outbox.append(outgoing(text))));
  await Promise.all([...early, ...late].map(position => outbox.received(position, forever)));
  t.deepEqual(await globex.texts(), ['1', '2', '3', '4', '5']);
  t.is(outbox.waiting.batches, 0);
});

test('durable lane: a refusal is an answer to the publishers and not the end of the lane', async t => {
  const { acme, globex } = await sides();
  globex.refuse = channel => (channel === 'secret' ? new FedgateError('NOT_GRANTED', 'not here') : undefined);
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  const outbox = acme.to(GLOBEX);
  const refused = await outbox.append(outgoing('no', { channel: 'secret' }));
  const taken = await outbox.append(outgoing('yes'));
  const error = await t.throwsAsync(outbox.received(refused, forever), { instanceOf: FedgateError });
  t.is(error?.reason, 'NOT_GRANTED');
  await outbox.received(taken, forever);
  t.deepEqual(await globex.texts(), ['yes']);
});

test('durable lane: a notice of consumption reaches those who wait, also when they ask later', async t => {
  const { acme, globex } = await sides();
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  const outbox = acme.to(GLOBEX);
  const position = await outbox.append(outgoing('x', { notifyConsumed: true }));
  await outbox.received(position, forever);
  const waiting = outbox.consumed(position, forever);
  const change = new Change();
  globex.to(ACME).appendNotice(change, {
    event: {
      $case: 'consumed',
      value: { streamEpoch: position.epoch, sequence: BigInt(position.sequence), subscription: 's' },
    },
  });
  await globex.store.commit(change);
  await waiting;
  await outbox.consumed(position, forever);
  t.deepEqual(await acme.lines(), []);
});

test('durable lane: what is said on the channel of approvals is heard once and in order, and is not part of the log', async t => {
  const { acme, globex } = await sides();
  const heard: string[] = [];
  globex.approvals = hearing(heard);
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  for (const text of ['1', '2', '3']) await say(acme, text);
  await received(acme, 1);
  await settle();
  t.deepEqual(heard, ['ACME put 1', 'ACME stored 1', 'ACME put 2', 'ACME stored 2', 'ACME put 3', 'ACME stored 3']);
  t.is((await globex.store.scan('heard', { limit: 10 })).length, 3);
  t.deepEqual(await globex.lines(), []);
});

test('durable lane: approvals that are not taken are refused and count as received, and nothing of them is stored', async t => {
  const { acme, globex } = await sides();
  globex.approvals = {
    receive(from, payloads, change) {
      hearing([]).receive(from, payloads, change);
      throw new FedgateError('LIMIT_REACHED', 'enough waits');
    },
  };
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  await say(acme, '1');
  const error = await t.throwsAsync(received(acme, 1), { instanceOf: FedgateError });
  t.is(error?.reason, 'LIMIT_REACHED');
  t.deepEqual(await globex.store.scan('heard', { limit: 10 }), []);
  const heard: string[] = [];
  globex.approvals = hearing(heard);
  const again = (await connect(acme, globex)).automatic();
  t.teardown(() => again.cut());
  await say(acme, '2');
  await settle();
  t.deepEqual(heard, ['ACME put 2', 'ACME stored 2'], 'what was refused does not come again');
});

test('durable lane: a defect in who hears approvals refuses the batch and keeps the lane', async t => {
  const { acme, globex } = await sides();
  globex.approvals = {
    receive() {
      throw new TypeError('a defect');
    },
  };
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  await say(acme, '1');
  await received(acme, 1);
  const told = acme.events.map(event => event.kind === 'refused' && event.error.message);
  t.deepEqual(told, ['GLOBEX failed: internal error']);
  const position = await acme.to(GLOBEX).append(outgoing('2'));
  await acme.to(GLOBEX).received(position, forever);
  t.deepEqual(await globex.texts(), ['2']);
});

test('durable lane: a gateway without approvals refuses them like any reserved channel', async t => {
  const { acme, globex } = await sides();
  globex.refuse = channel =>
    channel.startsWith('$') ? new FedgateError('CHANNEL_RESERVED', 'not for you') : undefined;
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  await say(acme, '1');
  t.is((await t.throwsAsync(received(acme, 1), { instanceOf: FedgateError }))?.reason, 'CHANNEL_RESERVED');
  t.deepEqual(await globex.lines(), []);
});

const say = async (side: DurableSide, text: string): Promise<void> => {
  const change = new Change();
  side.to(GLOBEX).appendControl(change, '$approvals', Buffer.from(text));
  await side.store.commit(change);
  await settle();
};

const received = (side: DurableSide, sequence: number): Promise<void> =>
  side.to(GLOBEX).received({ epoch: side.to(GLOBEX).newestEpoch, sequence }, forever);

/** Puts a row for each record, and writes down what it heard. */
const hearing = (heard: string[]): ApprovalsPort => ({
  receive(from, payloads, change) {
    const texts = payloads.map(payload => payload.toString());
    for (const text of texts) {
      heard.push(`${from} put ${text}`);
      change.put('heard', Buffer.from(text), Buffer.alloc(0));
    }
    return () => void heard.push(`${from} stored ${texts.join()}`);
  },
});

/** Lets everything that can happen by itself happen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve));
}

test('durable lane: one commit of the receiver is answered by one receipt', async t => {
  const { acme, globex } = await sides();
  const outbox = acme.to(GLOBEX);
  for (let i = 0; i < 50; i++) await outbox.append(outgoing(String(i)));
  const pair = await connect(acme, globex);
  t.teardown(() => pair.cut());
  await settle();
  pair.deliver('b');
  await settle();
  globex.store.manual = true;
  pair.deliver('a');
  await settle();
  t.is(receipts(pair.waiting('b')), 0, 'nothing is answered before it is stored');
  globex.store.manual = false;
  await settle();
  t.is(receipts(pair.waiting('b')), 1);
  pair.deliver('b');
  await settle();
  t.is(outbox.waiting.batches, 0);
});

test('durable lane: RECEIVED is answered with the receipt; who dies before it is stored gets it again, and nothing twice', async t => {
  const { acme, globex } = await sides();
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, globex)).automatic();
  const position = await outbox.append(outgoing('1'));
  await settle();
  const next = await outbox.append(outgoing('2'));
  acme.store.manual = true;
  await outbox.received(next, forever);
  t.is(outbox.waiting.batches, 0);
  t.deepEqual(await outbox.head(10), []);
  t.is(outbox.unreceipted.sequence, next.sequence, 'what the next hello says goes by what is stored');
  pair.cut();
  const again = await DurableSide.open(await testIdentity(ACME), await acme.store.kill());
  t.is(again.to(GLOBEX).waiting.batches, 1);
  t.is((await receiptRows(again)).length, 1);
  const second = (await connect(again, globex)).automatic();
  t.teardown(() => second.cut());
  await again.to(GLOBEX).received(next, forever);
  await again.to(GLOBEX).received(position, forever);
  await settle();
  t.is((await receiptRows(again)).length, 2);
  t.deepEqual(await globex.texts(), ['1', '2']);
  t.deepEqual([...acme.alarms, ...again.alarms, ...globex.alarms], []);
});

const receiptRows = ({ store }: DurableSide) => store.scan('receipt', { limit: 10 });

test('durable lane: a receipt that cannot be stored ends the lane, and the batch waits again', async t => {
  const { acme, globex } = await sides();
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, globex)).automatic();
  const position = await outbox.append(outgoing('1'));
  acme.store.manual = true;
  await outbox.received(position, forever);
  const late = outbox.received(position, forever);
  t.is(outbox.waiting.batches, 0);
  acme.store.flush('failed');
  acme.store.manual = false;
  await settle();
  t.is(outbox.waiting.batches, 1);
  pair.cut();
  const second = (await connect(acme, globex)).automatic();
  t.teardown(() => second.cut());
  await late;
  await settle();
  t.deepEqual(outbox.receipted, { epoch: position.epoch, sequence: position.sequence });
  t.deepEqual(await globex.texts(), ['1']);
});

test('durable lane: a refusal is answered when its dead letter is stored', async t => {
  const { acme, globex } = await sides();
  globex.refuse = () => new FedgateError('NOT_GRANTED', 'not here');
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  const position = await outbox.append(outgoing('no'));
  acme.store.manual = true;
  let answered = false;
  const refused = outbox.received(position, forever).catch((error: FedgateError) => {
    answered = true;
    return error.reason;
  });
  await settle();
  t.is(acme.store.waiting, 1);
  t.false(answered);
  acme.store.manual = false;
  t.is(await refused, 'NOT_GRANTED');
});

const receipts = (frames: readonly Buffer[]): number =>
  frames.filter(bytes => otherFrame(bytes)?.$case === 'receipt').length;

test('durable lane: nothing is sent beyond the credit, and a receiver without room gives none', async t => {
  const { acme } = await sides();
  const globex = await DurableSide.open(await testIdentity(GLOBEX), new TestStore(), { windowBytes: 1 });
  const outbox = acme.to(GLOBEX);
  const MIB = 1024 * 1024;
  for (let i = 0; i < 10; i++) await outbox.append(outgoing('x'.repeat(MIB - 1_000)));
  const pair = await connect(acme, globex);
  t.teardown(() => pair.cut());
  await settle();
  pair.deliver('b');
  await settle();
  const sent = pair.waiting('a').filter(bytes => bytes.length > MIB / 2).length;
  t.is(sent, 2, 'one batch of the largest size fits in any case');
  globex.store.setHealth({ state: 'full', problem: 'no space' });
  pair.deliver('a');
  await settle();
  pair.deliver('b');
  await settle();
  t.is(pair.waiting('a').filter(bytes => bytes.length > MIB / 2).length, 0);
  globex.store.setHealth({ state: 'ok', problem: '' });
  pair.automatic();
  await outbox.received({ ...outbox.next, sequence: 10 }, forever);
  t.is((await globex.texts()).length, 10);
});

test('durable lane: a batch beyond the credit ends it with CREDIT_EXCEEDED, and nothing of it is stored', async t => {
  const { acme, globex } = await sides();
  await acme.to(GLOBEX).append(outgoing('1'));
  const pair = await connect(acme, globex);
  await settle();
  // The credit never comes from GLOBEX: it is made up.
  globex.session?.drain();
  const credit = { bytes: 2n ** 40n, receiptedEpoch: 0n, receiptedSequence: 0n };
  pair.b.put({ $case: 'credit', value: credit });
  pair.deliver('b');
  for (let i = 0; i < 30; i++) await acme.to(GLOBEX).append(outgoing('x'.repeat(1_000_000)));
  await settle();
  globex.store.manual = true;
  pair.deliver('a');
  await settle();
  t.is(pair.b.reason.reason, 'CREDIT_EXCEEDED');
  t.deepEqual(
    globex.alarms.map(({ reason }) => reason),
    ['CREDIT_EXCEEDED'],
  );
  globex.store.manual = false;
});

test('durable lane: what drains sends nothing new and waits for its receipts', async t => {
  const { acme, globex } = await sides();
  const outbox = acme.to(GLOBEX);
  const first = await outbox.append(outgoing('1'));
  const pair = await connect(acme, globex);
  t.teardown(() => pair.cut());
  await settle();
  pair.deliver('b');
  await settle();
  acme.session?.drain();
  await outbox.append(outgoing('2'));
  let idle = false;
  const done = acme.session?.idle().then(() => {
    idle = true;
  });
  pair.deliver('a');
  await settle();
  t.false(idle);
  pair.automatic();
  await done;
  await outbox.received(first, forever);
  t.is(outbox.waiting.batches, 1);
  t.deepEqual(await globex.texts(), ['1']);
});

test('durable lane: a batch can be asked for again as long as it is kept', async t => {
  const { acme, globex } = await sides();
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  const position = await acme.to(GLOBEX).append(outgoing('precious'));
  await acme.to(GLOBEX).received(position, forever);
  const bytes = await globex.session?.refetch(position);
  t.deepEqual(bytes, recordBlock('precious').bytes);
  t.is(await globex.session?.refetch({ ...position, sequence: 99 }), undefined);
  pair.cut();
  const error = await t.throwsAsync(async () => globex.session?.refetch(position), { instanceOf: FedgateError });
  t.is(error?.reason, 'PEER_UNREACHABLE');
});

test('durable lane: questions that are asked faster than they can be answered end it', async t => {
  const { acme, globex } = await sides();
  const pair = await connect(acme, globex);
  await settle();
  for (let i = 1; i <= 17; i++) pair.b.put({ $case: 'refetch', value: { streamEpoch: 1n, sequence: BigInt(i) } });
  pair.deliver('b');
  t.is(pair.a.reason.reason, 'LIMIT_REACHED');
});

test('durable lane: a disk that fails at the receiver ends the lane, and the next one brings everything', async t => {
  const { acme, globex } = await sides();
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, globex)).automatic();
  await settle();
  globex.store.failures = 1;
  await outbox.append(outgoing('1'));
  const second = outbox.append(outgoing('2'));
  await new Promise<void>(resolve => pair.b.closed.addEventListener('abort', () => resolve(), { once: true }));
  t.is(pair.b.reason.reason, 'STORE_FAILED');
  t.deepEqual(globex.alarms, []);
  pair.cut();
  const next = (await connect(acme, globex)).automatic();
  t.teardown(() => next.cut());
  await outbox.received(await second, forever);
  t.deepEqual(await globex.texts(), ['1', '2']);
});
