import test, { type ExecutionContext } from 'ava';
import { MAX_KEYS, REMEMBER_MS } from '../../src/requests/idempotency.js';
import { told, World } from './world.js';

function world(t: ExecutionContext): World {
  const made = new World();
  t.teardown(() => made.close());
  return made;
}

test('idempotency: the same key gets the first reply or waits for it; another caller, channel or key does not', t => {
  const w = world(t);
  const clerk = w.responder('clerk', ['**'], 100);
  const [first, second] = [w.ask('q', { key: 'k' }), w.ask('q', { key: 'k' })];
  t.is(clerk.asked.length, 1);
  clerk.reply('yes');
  t.is(told(first?.answers[0]), 'reply clerk 1');
  t.is(told(second?.answers[0]), 'reply clerk 1 duplicate');
  t.is(told(w.ask('q', { key: 'k' }).answers[0]), 'reply clerk 1 duplicate');
  w.ask('q', { key: 'k', caller: 'other' });
  w.ask('r', { key: 'k' });
  w.ask('q', { key: 'l' });
  t.is(clerk.asked.length, 3);
});

test('idempotency: an error of the responder is an answer too; ten minutes later it is asked anew', t => {
  const w = world(t);
  const clerk = w.responder('clerk', ['q']);
  w.ask('q', { key: 'k' });
  clerk.fail('NO');
  t.is(told(w.ask('q', { key: 'k' }).answers[0]), 'NO clerk 1 duplicate');
  w.pass(REMEMBER_MS);
  w.ask('q', { key: 'k' });
  t.is(clerk.asked.length, 1);
});

test('idempotency: it goes on when its caller goes away, and whoever asks again gets its reply', t => {
  const w = world(t);
  const clerk = w.responder('clerk', ['q']);
  w.ask('q', { key: 'k' }).giveUp();
  t.deepEqual(clerk.cancelled, []);
  t.is(w.pending.count, 1, 'it counts as long as it goes on');
  clerk.reply('yes');
  t.is(told(w.ask('q', { key: 'k' }).answers[0]), 'reply clerk 1 duplicate');
  t.is(w.pending.count, 0);
});

test('idempotency: what is out when its time is over is not asked a second time before that responder has spoken', t => {
  const w = world(t);
  const clerk = w.responder('clerk', ['q']);
  const first = w.ask('q', { key: 'k', timeoutMs: 10 });
  w.pass(10);
  t.is(told(first.answers[0]), 'DEADLINE_EXCEEDED 1');
  const second = w.ask('q', { key: 'k' });
  t.is(clerk.asked.length, 1);
  clerk.reply('yes, but late');
  t.is(told(second.answers[0]), 'reply clerk 1 duplicate');

  const third = w.ask('q', { key: 'l', timeoutMs: 10 });
  w.pass(10);
  t.is(told(third.answers[0]), 'DEADLINE_EXCEEDED 1');
  const fourth = w.ask('q', { key: 'l' });
  clerk.fail('I stopped');
  t.is(clerk.asked.length, 1, 'asked anew: it said that it did not');
  clerk.reply('now');
  t.is(told(fourth.answers[0]), 'reply clerk 1');

  const fifth = w.ask('q', { key: 'm', timeoutMs: 10 });
  w.pass(10);
  const sixth = w.ask('q', { key: 'm', timeoutMs: 10 });
  w.pass(10);
  t.is(told(fifth.answers[0]), 'DEADLINE_EXCEEDED 1');
  t.is(told(sixth.answers[0]), 'DEADLINE_EXCEEDED 0');
});

test('idempotency: nobody having answered is not remembered', t => {
  const w = world(t);
  t.is(told(w.ask('q', { key: 'k' }).answers[0]), 'NO_RESPONDERS 0');
  const clerk = w.responder('clerk', ['q']);
  const asking = w.ask('q', { key: 'k' });
  clerk.reply('yes');
  t.is(told(asking.answers[0]), 'reply clerk 1');
});

test('idempotency: the table is bounded: old answers go first, what is under way stays', t => {
  const w = world(t);
  const clerk = w.responder('clerk', ['q'], 10_000);
  for (let i = 0; i < MAX_KEYS; i++) w.ask('q', { key: `k${i}`, caller: `n${i % 9}` });
  t.is(told(w.ask('q', { key: 'more' }).answers[0]), 'LIMIT_REACHED 0');
  clerk.reply('yes', 3);
  w.ask('q', { key: 'more' });
  t.is(clerk.asked.length, MAX_KEYS);
});
