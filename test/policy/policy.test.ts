import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { FedgateError } from '../../src/errors.js';
import { InOrder } from '../../src/policy/in-order.js';
import { type Decision, MAX_POLICY_QUESTIONS, RemotePolicy, UNANSWERED_MS } from '../../src/policy/remote-policy.js';
import type { PolicyQuestion } from '../../src/policy/types.js';

const question = (target = 'orders', records = 1): PolicyQuestion => ({
  action: 'publish',
  subject: { org: 'ACME', node: 'billing' },
  targetOrg: 'GLOBEX',
  target,
  records,
  bytes: 10 * records,
});

/** A policy whose clock and server are the test's. */
class World {
  nowMs = 0;
  troubles = 0;
  asked: { readonly question: PolicyQuestion; answer(decision: Partial<Decision>): void; fail(): void }[] = [];
  readonly policy: RemotePolicy;

  constructor(cacheEntries = 3) {
    this.policy = new RemotePolicy({
      org: 'ACME',
      actions: ['publish', 'deliver'],
      cacheEntries,
      now: () => this.nowMs,
      onTrouble: () => this.troubles++,
      ask: asked =>
        new Promise((resolve, reject) => {
          const answer = (decision: Partial<Decision>): void =>
            resolve({ allowed: false, reason: '', cacheMs: 0, ...decision });
          this.asked.push({ question: asked, answer, fail: () => reject(new Error('down')) });
        }),
    });
  }

  /** `yes`, `asked` or the reason of the refusal. */
  async tell(asked: PolicyQuestion, decision?: Partial<Decision> | 'fail'): Promise<string> {
    const before = this.asked.length;
    try {
      const verdict = this.policy.check(asked);
      if (this.asked.length > before) {
        if (decision === 'fail') this.asked.at(-1)?.fail();
        else if (decision) this.asked.at(-1)?.answer(decision);
        else return 'asked';
      }
      await verdict;
      return 'yes';
    } catch (error) {
      return (error as FedgateError).reason;
    }
  }
}

test('policy: an action that it has no say in is not asked about', t => {
  const w = new World();
  t.false(w.policy.asks('fetch'));
  t.is(w.policy.check({ ...question(), action: 'fetch' }), undefined);
  t.is(w.asked.length, 0);
});

test('policy: a yes is yes, everything else is a refusal with its reason', async t => {
  const w = new World();
  t.is(await w.tell(question(), { allowed: true }), 'yes');
  t.is(await w.tell(question(), {}), 'POLICY_DENIED');
  t.is(await w.tell(question('b'), 'fail'), 'POLICY_UNAVAILABLE');
  const checking = w.policy.check(question('c'));
  w.asked.at(-1)?.answer({ reason: `no\n${'x'.repeat(300)}` });
  const error = await t.throwsAsync<FedgateError>(async () => checking);
  t.is([...(error?.metadata.explanation ?? '')].length, 200);
  t.false(error?.message.includes('\n'));
});

test('policy: an answer counts for as long as it says, whatever the size, and for that question alone', async t => {
  const w = new World();
  t.is(await w.tell(question(), { allowed: true, cacheMs: 1_000 }), 'yes');
  t.is(w.policy.check(question('orders', 7)), undefined, 'known at once');
  for (const other of [
    question('other'),
    { ...question(), targetOrg: 'ACME' },
    { ...question(), subject: { org: 'ACME', node: 'b' } },
  ])
    t.is(await w.tell(other), 'asked');
  w.nowMs = 1_000;
  t.is(await w.tell(question()), 'asked');
  t.is(await w.tell(question('denied'), { cacheMs: 500 }), 'POLICY_DENIED');
  t.is(await w.tell(question('denied')), 'POLICY_DENIED');
  w.nowMs = 1_500;
  t.is(await w.tell(question('denied')), 'asked');
});

test('policy: of more answers than are remembered the oldest goes', async t => {
  const w = new World(2);
  for (const target of ['a', 'b', 'c']) t.is(await w.tell(question(target), { allowed: true, cacheMs: 1_000 }), 'yes');
  t.is(await w.tell(question('c')), 'yes');
  t.is(await w.tell(question('b')), 'yes');
  t.is(await w.tell(question('a')), 'asked');
});

test('policy: the same question is asked once at a time, and no more than so many at once', async t => {
  const w = new World();
  const two = [w.policy.check(question()), w.policy.check(question())];
  t.is(w.asked.length, 1);
  w.asked[0]?.answer({ allowed: true });
  await Promise.all(two);
  for (let i = 0; i < MAX_POLICY_QUESTIONS; i++) void w.policy.check(question(`t${i}`));
  t.is(await w.tell(question('beyond')), 'POLICY_UNAVAILABLE');
  t.is(w.asked.length, 1 + MAX_POLICY_QUESTIONS);
});

test('policy: whoever waits behind a question that was not answered need not wait as long', async t => {
  const w = new World();
  t.is(await w.tell(question(), 'fail'), 'POLICY_UNAVAILABLE');
  t.is(await w.tell(question()), 'POLICY_UNAVAILABLE');
  t.is(w.asked.length, 1);
  w.nowMs = UNANSWERED_MS;
  t.is(await w.tell(question(), { allowed: true }), 'yes');
  t.is(w.troubles, 1);
});

test('policy: what passes one after the other passes in the order of the calls, whatever the answers take', async t => {
  await t.notThrowsAsync(
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ line: fc.constantFrom('a', 'b'), turns: fc.nat(3), allowed: fc.boolean(), pause: fc.nat(2) }),
          {
            maxLength: 12,
          },
        ),
        async calls => {
          const inOrder = new InOrder();
          const passed: { line: string; i: number }[] = [];
          const results: Promise<unknown>[] = [];
          for (const [i, { line, turns, allowed, pause }] of calls.entries()) {
            const refusal = new FedgateError('POLICY_DENIED', 'no');
            const check = (): void | Promise<void> => {
              if (turns === 0 && allowed) return;
              if (turns === 0) throw refusal;
              return (async () => {
                for (let n = 0; n < turns; n++) await turn();
                if (!allowed) throw refusal;
              })();
            };
            results.push(
              (async () => inOrder.run(line, check, () => passed.push({ line, i })))().then(
                () => allowed,
                error => !allowed && error === refusal,
              ),
            );
            for (let n = 0; n < pause; n++) await turn();
          }
          if (!(await Promise.all(results)).every(Boolean)) return false;
          const expected = (line: string) =>
            [...calls.entries()].filter(([, c]) => c.line === line && c.allowed).map(([i]) => i);
          return ['a', 'b'].every(
            line =>
              JSON.stringify(passed.filter(p => p.line === line).map(p => p.i)) === JSON.stringify(expected(line)),
          );
        },
      ),
      { numRuns: 150 },
    ),
  );
});
