import test, { type ExecutionContext } from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { MAX_PENDING, MAX_PENDING_PER_CALLER } from '../../src/requests/pending.js';
import { MAX_ATTEMPTS, MAX_QUEUED_PER_CHANNEL } from '../../src/requests/types.js';
import { heldBytes } from '../support/memory.js';
import { told, World } from './world.js';

function world(t: ExecutionContext): World {
  const made = new World();
  t.teardown(() => made.close());
  return made;
}

test('dispatcher: the least busy for its capacity gets it, and of equals the one whose turn was longest ago', t => {
  const w = world(t);
  const [big, small] = [w.responder('big', ['q'], 4), w.responder('small', ['q'], 2)];
  for (let i = 0; i < 6; i++) w.ask('q');
  t.is(big.asked.length, 4);
  t.is(small.asked.length, 2);
  small.reply('a');
  small.reply('b');
  w.ask('q');
  t.is(small.asked.length, 1, 'a half of two is less than all of four');
  for (let i = 0; i < 4; i++) big.reply('x');
  small.reply('c');
  w.ask('q');
  t.is(big.asked.length, 1, 'both are idle, and small was given something later');
});

test('dispatcher: what nobody has room for waits in order, and within the time it has', t => {
  const w = world(t);
  const only = w.responder('only', ['q'], 1);
  const [first, second, third] = [w.ask('q'), w.ask('q', { timeoutMs: 100 }), w.ask('q')];
  w.pass(100);
  t.is(told(second?.answers[0]), 'DEADLINE_EXCEEDED 0');
  only.reply('one');
  t.is(told(first?.answers[0]), 'reply only 1');
  t.is(only.asked.length, 1);
  only.reply('three');
  t.is(told(third?.answers[0]), 'reply only 1');
  t.is(w.pending.count, 0);
  t.is(w.deadlines.size, 0);
});

test('dispatcher: a line is bounded, and whoever is too late is told so at once', t => {
  const w = world(t);
  w.responder('only', ['q'], 1);
  for (let i = 0; i <= MAX_QUEUED_PER_CHANNEL; i++) w.ask('q');
  t.is(told(w.ask('q').answers[0]), 'LIMIT_REACHED 0');
});

test('dispatcher: one that dies hands what it has to others, in front of what waits; the answer says how many got it', t => {
  const w = world(t);
  const dying = w.responder('dying', ['q'], 2);
  const [a, b, c] = [w.ask('q'), w.ask('q'), w.ask('q')];
  const heir = w.responder('heir', ['q'], 1);
  t.is(heir.asked.length, 1);
  heir.reply('c');
  t.is(told(c?.answers[0]), 'reply heir 1');
  dying.leave();
  heir.reply('a');
  heir.reply('b');
  t.is(told(a?.answers[0]), 'reply heir 2');
  t.is(told(b?.answers[0]), 'reply heir 2');
});

test('dispatcher: nobody else gets a request that says once, nor one that none survives', t => {
  const w = world(t);
  const dying = w.responder('dying', ['q']);
  const once = w.ask('q', { once: true });
  const heir = w.responder('heir', ['q']);
  dying.leave();
  t.is(told(once.answers[0]), 'RESPONDER_GONE 1');
  t.is(heir.asked.length, 0);
  heir.leave();
  const first = w.responder('n0', ['q']);
  const poison = w.ask('q');
  let last = first;
  for (let i = 1; i <= MAX_ATTEMPTS; i++) {
    const next = w.responder(`n${i}`, ['q']);
    last.leave();
    last = next;
  }
  t.is(told(poison.answers[0]), `RESPONDER_GONE ${MAX_ATTEMPTS}`);
  t.is(last.asked.length, 0);
});

test('dispatcher: when the last one dies with a request, it is gone and not unheard of', t => {
  const w = world(t);
  const only = w.responder('only', ['q'], 1);
  const [had, waited] = [w.ask('q'), w.ask('q')];
  only.leave();
  t.is(told(had?.answers[0]), 'RESPONDER_GONE 1');
  t.is(told(waited?.answers[0]), 'NO_RESPONDERS 0');
  t.is(told(w.ask('q').answers[0]), 'NO_RESPONDERS 0');
});

test('dispatcher: one that never answers is given no more than its capacity, and the others go on', t => {
  const w = world(t);
  const hung = w.responder('hung', ['q'], 2);
  const good = w.responder('good', ['q'], 2);
  for (let i = 0; i < 100; i++) {
    w.ask('q', { timeoutMs: 10 });
    while (good.asked.length > 0) good.reply('ok');
    w.pass(20);
  }
  t.is(hung.asked.length, 1, 'its place stays taken, and so it is never the least busy again');
  t.is(hung.cancelled.length, 1);
  const asking = w.ask('q');
  good.reply('ok');
  t.is(told(asking.answers[0]), 'reply good 1');
});

test('dispatcher: a caller that gives up frees its place, and the responder is told', t => {
  const w = world(t);
  const only = w.responder('only', ['q'], 1);
  const [out, waiting] = [w.ask('q'), w.ask('q')];
  waiting?.giveUp();
  out?.giveUp();
  t.deepEqual(only.cancelled, [{ id: 1, cause: 'caller' }]);
  t.is(w.pending.count, 0);
  t.is(w.here.dispatcher.queued, 0);
  only.reply('too late');
  t.deepEqual([...(out?.answers ?? []), ...(waiting?.answers ?? [])], []);
});

test('dispatcher: an answer to what was never asked, or the second one, ends whoever gives it', t => {
  const w = world(t);
  const liar = w.responder('liar', ['q']);
  const other = w.responder('other', ['r']);
  const asking = w.ask('q');
  w.ask('r');
  t.is(t.throws<FedgateError>(() => liar.reply('x', 2))?.reason, 'FRAME_UNEXPECTED');
  t.is(t.throws<FedgateError>(() => liar.reply('x', 0))?.reason, 'FRAME_UNEXPECTED');
  liar.reply('first', 1);
  t.is(t.throws<FedgateError>(() => liar.reply('second', 1))?.reason, 'FRAME_UNEXPECTED');
  t.is(asking.answers.length, 1);
  t.is(other.asked.length, 1, 'nobody answers for another: numbers are of one stream');
});

test('dispatcher: roles — disabled refuses at once, enabled serves what waits, and patterns overlap', t => {
  const w = world(t);
  const busy = w.responder('busy', ['a/*'], 1);
  w.ask('a/b');
  const waiting = w.ask('a/b');
  const helper = w.responder('helper', []);
  t.is(helper.asked.length, 0);
  helper.enable('a/b');
  t.is(helper.asked.length, 1);
  helper.reply('ok');
  t.is(told(waiting.answers[0]), 'reply helper 1');
  helper.enable('a/**');
  helper.disable('a/b');
  t.is(w.here.dispatcher.serving('a/b').length, 2, 'another pattern still matches');
  helper.disable('a/**');
  const queued = w.ask('a/b');
  busy.disable('a/*');
  t.is(told(queued.answers[0]), 'NO_RESPONDERS 0', 'who waited is told at once');
  t.is(told(w.ask('a/b').answers[0]), 'NO_RESPONDERS 0');
  busy.reply('had it before');
});

test('dispatcher: large requests go out one at a time, and small ones do not pass them in their line', t => {
  const w = world(t);
  const only = w.responder('only', ['q'], 10);
  const large = { payload: Buffer.alloc(300_000) };
  const askings = [w.ask('q', large), w.ask('q', large), w.ask('q')];
  t.is(only.asked.length, 1);
  only.reply('1');
  t.is(only.asked.length, 1);
  only.reply('2');
  only.reply('3');
  t.deepEqual(
    askings.map(({ answers }) => told(answers[0])),
    Array(3).fill('reply only 1'),
  );
});

test('dispatcher: when a large one in front gives up, the small ones behind it go to who has room', t => {
  const w = world(t);
  const only = w.responder('only', ['q'], 10);
  w.ask('q');
  const large = w.ask('q', { payload: Buffer.alloc(300_000) });
  w.ask('q');
  t.is(only.asked.length, 1);
  large.giveUp();
  t.is(only.asked.length, 2);
});

test('pending: 100,000 requests are held, one caller has a share of them, and memory comes back', async t => {
  const w = world(t);
  const before = await heldBytes();
  const channels = Array.from({ length: 12 }, (_, i) => `q${i}`);
  const responders = channels.map((channel, i) => w.responder(`n${i}`, [channel], 1));
  for (let i = 0; i < MAX_PENDING_PER_CALLER; i++) w.ask(channels[i % 12] ?? '', { caller: 'a' });
  t.throws(() => w.ask('q0', { caller: 'a' }), { message: /25000 requests of a/ });
  for (let i = MAX_PENDING_PER_CALLER; i < MAX_PENDING; i++) w.ask(channels[i % 12] ?? '', { caller: `n${i % 9}` });
  t.is(w.pending.count, MAX_PENDING);
  const error = t.throws<FedgateError>(() => w.ask('q0', { caller: 'late' }));
  t.is(error?.reason, 'LIMIT_REACHED');
  const held = (await heldBytes()) - before;
  t.log(`${Math.round(held / MAX_PENDING)} bytes for each of ${MAX_PENDING} pending requests`);
  t.true(held < MAX_PENDING * 1_500, `${held} bytes`);
  responders[0]?.reply('one goes on');
  w.ask('q0', { caller: 'late' });
  w.pass(1_000);
  t.is(w.pending.count, 0);
  t.is(w.pending.bytes, 0);
  t.is(w.here.dispatcher.queued, 0);
  t.is(w.deadlines.size, 0);
});
