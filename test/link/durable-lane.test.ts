import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { Change } from '../../src/store/store.js';
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
