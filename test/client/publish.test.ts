import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { FedgateError } from '../../src/client/index.js';
import { FakeGateway } from '../support/fake-gateway.js';

const FULL = new FedgateError('OUTBOX_FULL', 'full', { retryAfterMs: 10 });
const TO = 'pubsub://GLOBEX/orders';

test('publish: the frame says on which terms, and who publishes with which number', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t, { producer: { id: 'shop', epoch: 5 } });
  const options = { ack: 'received', ackTimeoutMs: 2_000, ttlMs: 5_000_000_000, patienceMs: 3 } as const;
  const report = await client.publish(TO, 'a', options);
  t.like(report, { side: 'remote', org: 'GLOBEX', level: 'received', duplicate: false, streamEpoch: 1n, sequence: 1 });
  await client.publish(TO, 'b', { delivery: 'durable' });
  await client.publish('own', 'c');
  t.like(gateway.frames[0], { ack: 2, ackTimeoutMs: 2_000, ttlMs: 5_000_000_000, patienceMs: 3, delivery: 0 });
  t.deepEqual(
    gateway.frames.map(({ producerId, producerEpoch, producerSequence }) => [
      producerId,
      producerEpoch,
      producerSequence,
    ]),
    [
      ['shop', 5, 1],
      ['shop', 5, 2],
      // The gateway takes `own` and `pubsub://ACME/own` for one address, which this process cannot know.
      ['shop:own', 5, 1],
    ],
  );
});

test('publish: live frames have no number, and tell of subscribers only', async t => {
  const gateway = await FakeGateway.start(t);
  gateway.judge = () => 'live';
  const client = await gateway.connect(t);
  t.deepEqual(await client.publish(TO, 'a', { delivery: 'live' }), {
    side: 'remote',
    org: 'GLOBEX',
    subscribers: 1,
    dropped: 0,
  });
  t.like(gateway.frames[0], { delivery: 1, producerId: '', producerEpoch: 0, producerSequence: 0 });
});

test('publish: records on different terms do not share a frame, and keep their order', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const terms = [{}, {}, { ttlMs: 9 }, {}, { ack: 'received' }, { ack: 'received' }] as const;
  await Promise.all(terms.map((options, i) => client.publish(TO, String(i), options)));
  t.deepEqual(
    gateway.stored.map(({ texts }) => texts),
    [['0', '1'], ['2'], ['3'], ['4', '5']],
  );
});

test('publish: options that contradict themselves are refused by field', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const wrong = [
    ['delivery', { delivery: 'live', ack: 'stored' }],
    ['delivery', { delivery: 'maybe' }],
    ['ack', { ack: 'seen' }],
    ['ttlMs', { ttlMs: 1.5 }],
    ['ackTimeoutMs', { ackTimeoutMs: -1 }],
    ['patienceMs', { patienceMs: 2 ** 32 }],
    ['id', { dedupe: true }],
  ] as const;
  for (const [field, options] of wrong) {
    const error = await t.throwsAsync<FedgateError>(client.publish(TO, 'x', options as object));
    t.deepEqual([error?.reason, error?.fields[0]?.field], ['FIELD_INVALID', field]);
  }
  const error = await t.throwsAsync<FedgateError>(gateway.connect(t, { producer: { id: 'a b' } }));
  t.is(error?.fields[0]?.field, 'producer.id');
});

test('publish: a refused frame has not used its number; what is behind it is renumbered and nobody notices', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = (_, texts) => (texts[0] === '2' || texts[0] === '3' ? FULL : 'store');
  const reports = [];
  for (let i = 0; i < 20; i++) {
    reports.push(client.publish(TO, String(i)).then(undefined, (error: FedgateError) => error.reason));
    await turn();
  }
  const outcomes = await Promise.all(reports);
  t.deepEqual([outcomes[2], outcomes[3]], ['OUTBOX_FULL', 'OUTBOX_FULL']);
  t.is(outcomes.filter(outcome => typeof outcome === 'object').length, 18);
  t.deepEqual(gateway.texts, ['0', '1', ...Array.from({ length: 16 }, (_, i) => String(i + 4))]);
});

test('publish: what waits for its level does not hold up what has to be renumbered', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = (_, texts) => (texts[0] === 'waits' ? 'hold' : texts[0] === 'refused' ? FULL : 'store');
  const waits = client.publish(TO, 'waits', { ack: 'consumed' });
  const refused = client.publish(TO, 'refused');
  const others = ['a', 'b', 'c'].map((text, i) => client.publish(TO, text, { ttlMs: i + 1 }));
  t.is((await t.throwsAsync<FedgateError>(refused))?.reason, 'OUTBOX_FULL');
  await Promise.all(others);
  t.deepEqual(gateway.texts, ['waits', 'a', 'b', 'c']);
  gateway.cut();
  t.true((await waits).duplicate);
});

test('publish: what waits in the process is bounded, and a source is taken only as fast as it is answered', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = () => 'hold';
  const payload = Buffer.alloc(64 * 1024);
  let taken = 0;
  function* source() {
    for (; taken < 10_000; taken++) yield { payload };
  }
  const controller = new AbortController();
  const all = client
    .publishAll(TO, source(), { signal: controller.signal })
    .catch((error: FedgateError) => error.reason);
  // More is sent than a gateway that answers nothing is meant to read; the rest waits at the source.
  while (gateway.frames.reduce((sum, { records }) => sum + records.bytes.length, 0) < 7 * 1024 * 1024) await turn();
  t.true(taken < 200, `${taken} of 64 KiB were taken`);
  const more = Array.from({ length: 1_200 }, () =>
    client.publish('own', payload).catch((error: FedgateError) => error),
  );
  const last = await more.at(-1);
  t.like(last, { reason: 'LIMIT_REACHED', metadata: { limit: 'client queue' } });
  controller.abort();
  client.close();
  t.is(await all, 'OUTCOME_UNKNOWN');
});

test('publish: many refusals in a row do not make everything behind them be sent again for each', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = (_, texts) => (Number(texts[0]) < 200 ? FULL : 'store');
  const reports = [];
  for (let i = 0; i < 400; i++) {
    reports.push(client.publish(TO, String(i), { ttlMs: 1 + (i % 2) }));
  }
  await Promise.allSettled(reports);
  t.is(gateway.stored.length, 200);
  t.true(gateway.frames.length < 2_000, `${gateway.frames.length} frames for 400`);
});

test('publish: what was on its way when the stream broke is sent again under the same numbers and stored once', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = (_, texts) => {
    if (texts[0] !== 'b') return 'store';
    gateway.judge = () => 'store';
    return 'cut after';
  };
  const reports = [];
  for (const text of ['a', 'b', 'c', 'd']) {
    reports.push(client.publish(TO, text, { ttlMs: text.charCodeAt(0) }));
  }
  const outcomes = await Promise.all(reports);
  t.deepEqual(gateway.texts, ['a', 'b', 'c', 'd']);
  t.true(outcomes[1]?.duplicate);
});

test('publish: live records on their way when the stream broke are OUTCOME_UNKNOWN', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = () => 'cut before';
  const error = await t.throwsAsync<FedgateError>(client.publish(TO, 'a', { delivery: 'live' }));
  t.is(error?.reason, 'OUTCOME_UNKNOWN');
});

test('publish: a gateway that restarts is found again, and nothing is lost or doubled', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = (_, texts) => (texts[0] === 'a' ? 'hold' : 'store');
  const first = client.publish(TO, 'a', { ttlMs: 1 });
  await client.publish(TO, 'b');
  const gone = new Promise<void>(resolve => client.once('disconnected', () => resolve()));
  await gateway.stop();
  await gone;
  const late = client.publish(TO, 'c');
  await gateway.restart();
  t.true((await first).duplicate);
  await late;
  t.deepEqual(gateway.texts, ['a', 'b', 'c']);
});

test('publish: what cannot be sent again in time is OUTCOME_UNKNOWN, what was never sent GATEWAY_UNREACHABLE', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t, { publishTimeoutMs: 300 });
  gateway.judge = () => 'hold';
  const sent = client.publish(TO, 'a').catch((error: FedgateError) => error.reason);
  while (gateway.stored.length === 0) await turn();
  const gone = new Promise<void>(resolve => client.once('disconnected', () => resolve()));
  await gateway.stop();
  await gone;
  const unsent = client.publish(TO, 'b').catch((error: FedgateError) => error.reason);
  t.is(await sent, 'OUTCOME_UNKNOWN');
  t.is(await unsent, 'GATEWAY_UNREACHABLE');
  gateway.judge = () => 'store';
  await gateway.restart();
  await new Promise<void>(resolve => client.once('connected', () => resolve()));
  t.like(await client.publish(TO, 'c'), { duplicate: false });
  t.deepEqual(gateway.texts, ['a', 'c']);
});

test('publish: streams that break all the time end in OUTCOME_UNKNOWN, not in waiting for ever', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t, { publishTimeoutMs: 300 });
  gateway.judge = () => 'cut before';
  const error = await t.throwsAsync<FedgateError>(client.publish(TO, 'a'));
  t.is(error?.reason, 'OUTCOME_UNKNOWN');
});

test('publish: an answer that the gateway stops leaves the frame to the next stream', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = () => new FedgateError('DRAINING', 'the gateway stops');
  const report = client.publish(TO, 'a', { ack: 'consumed' });
  while (gateway.frames.length === 0) await turn();
  gateway.judge = () => 'store';
  gateway.cut();
  t.is((await report).level, 'consumed');
});

test('publish: ACK_TIMEOUT tells the level that was reached, and uses the number up', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const late = new FedgateError('ACK_TIMEOUT', 'late', { metadata: { level: 'stored' } });
  gateway.judge = () => late;
  const error = await t.throwsAsync<FedgateError>(client.publish(TO, 'a', { ack: 'received' }));
  t.like(error, { reason: 'ACK_TIMEOUT', retryable: true, metadata: { level: 'stored' } });
});

test('publish: with dedupe a record travels alone under its id, and a repetition is a duplicate', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const record = { payload: 'x', id: 'order-é' };
  const both = await Promise.all([0, 1].map(() => client.publish(TO, record, { dedupe: true })));
  t.deepEqual(
    both.map(({ duplicate }) => duplicate),
    [false, true],
  );
  t.deepEqual(
    gateway.frames.map(({ dedupeId, producerId }) => [dedupeId, producerId]),
    [
      ['order-é', ''],
      ['order-é', ''],
    ],
  );
  t.is(gateway.stored.length, 1);
});

test('publish: another program under the same drawn name is noticed, not taken for a duplicate', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t, { producer: { id: 'shop' } });
  await client.publish(TO, 'a');
  const other = await gateway.connect(t, {
    producer: { id: 'shop', epoch: gateway.frames[0]?.producerEpoch },
  });
  t.true((await other.publish(TO, 'a')).duplicate, 'a program that names its epoch knows what it repeats');
  await other.publish(TO, 'b');
  const error = await t.throwsAsync<FedgateError>(client.publish(TO, 'c'));
  t.is(error?.reason, 'PRODUCER_FENCED');
});

test('publish: after so many addresses that some were forgotten, the gateway is asked for the number', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  await client.publish(TO, 'first');
  const reports = [];
  for (let i = 0; i < 10_000; i++) {
    reports.push(client.publish(`many/${i}`, String(i)));
    if (i % 1_000 === 999) await Promise.all(reports.splice(0));
  }
  t.like(await client.publish(TO, 'again'), { duplicate: false, level: 'stored' });
  t.is(gateway.frames.at(-1)?.producerSequence, 2);
  t.is(gateway.stored.length, 10_002);
});

test('publishAll: counts duplicates', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const records = ['a', 'b', 'a'].map(id => ({ payload: id, id }));
  const first = await client.publishAll(TO, records.slice(0, 2), { dedupe: true });
  t.deepEqual(first, { records: 2, bytes: 2, dropped: 0, unheard: 0, duplicates: 0, partial: 0 });
  t.deepEqual(await client.publishAll(TO, records, { dedupe: true }), {
    ...first,
    records: 3,
    bytes: 3,
    duplicates: 3,
  });
});

test('drain: waits for frames that have to be sent again', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  gateway.judge = () => {
    gateway.judge = () => 'store';
    return 'cut before';
  };
  const report = client.publish(TO, 'a');
  await client.drain();
  t.is((await report).level, 'stored');
});
