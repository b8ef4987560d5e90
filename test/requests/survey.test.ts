import test, { type ExecutionContext } from 'ava';
import type { FedgateError } from '../../src/errors.js';
import type { Answered, Said, SurveyEnd } from '../../src/requests/types.js';
import { recordBlock } from '../support/attack.js';
import { told, World } from './world.js';

function scene(t: ExecutionContext) {
  const w = new World();
  t.teardown(() => w.close());
  const survey = (maxAnswers = 0, timeoutMs = 100) => {
    const answers: (Said & Answered)[] = [];
    const ends: SurveyEnd[] = [];
    const question = { channel: 'q', senderOrg: 'ACME', senderNode: 'asker', record: recordBlock('who?') };
    const terms = { dueMs: w.nowMs + timeoutMs, maxAnswers };
    const sink = { answer: (a: Said & Answered) => void answers.push(a), end: (e: SurveyEnd) => void ends.push(e) };
    const giveUp = w.here.survey('asker', question, terms, sink);
    return { answers, ends, giveUp };
  };
  return { w, survey };
}

test('survey: ends when all have answered, errors included', t => {
  const { w, survey } = scene(t);
  const [east, west] = [w.responder('east', ['q']), w.responder('west', ['**'])];
  w.responder('other', ['r']);
  const { answers, ends } = survey();
  east.reply('7');
  t.is(ends.length, 0);
  west.fail('NONE');
  t.deepEqual(answers.map(told), ['reply east 1', 'NONE west 1']);
  t.deepEqual(ends, [{ asked: 2, answered: 2, missing: [] }]);
  t.is(w.pending.count, 0);
  t.is(w.deadlines.size, 0);
});

test('survey: who did not answer is named, with why; the ones that had it are told to stop', t => {
  const { w, survey } = scene(t);
  const [slow, gone, busy] = [
    w.responder('slow', ['q']),
    w.responder('gone', ['q']),
    w.responder('busy', ['q', 'r'], 1),
  ];
  w.ask('r', { timeoutMs: 10_000 });
  const { ends } = survey();
  gone.leave();
  w.pass(100);
  t.deepEqual(ends, [
    {
      asked: 3,
      answered: 0,
      missing: [
        { org: 'ACME', node: 'gone', why: 'gone' },
        { org: 'ACME', node: 'slow', why: 'no answer' },
        { org: 'ACME', node: 'busy', why: 'busy' },
      ],
    },
  ]);
  t.deepEqual(slow.cancelled, [{ id: 1, cause: 'deadline' }]);
  busy.reply('r');
  t.is(busy.asked.length, 0, 'nothing is left of it');
});

test('survey: ends after so many answers; one that waited for room is asked once there is some', t => {
  const { w, survey } = scene(t);
  const [a, b] = [w.responder('a', ['q'], 1), w.responder('b', ['q'], 1)];
  w.ask('q', { timeoutMs: 10_000 });
  w.ask('q', { timeoutMs: 10_000 });
  const { answers, ends } = survey(1);
  t.is(a.asked.length + b.asked.length, 2);
  a.reply('busy no more');
  a.reply('mine');
  t.is(answers.length, 1);
  t.like(ends[0], { asked: 2, answered: 1, missing: [{ node: 'b', why: 'busy' }] });
  t.is(ends.length, 1);
});

test('survey: nobody there is said at once; one that is given up says nothing more', t => {
  const { w, survey } = scene(t);
  t.is(t.throws<FedgateError>(() => survey())?.reason, 'NO_RESPONDERS');
  t.is(w.pending.count, 0);
  const a = w.responder('a', ['q']);
  const { answers, ends, giveUp } = survey();
  giveUp();
  t.deepEqual(a.cancelled, [{ id: 1, cause: 'caller' }]);
  a.reply('late');
  w.pass(1_000);
  t.deepEqual([answers.length, ends.length, w.pending.count], [0, 0, 0]);
});
