import test from 'ava';
import fc from 'fast-check';
import { type Asking, type TestResponder, World } from './world.js';

/** Whatever happens in whatever order: every request ends exactly once, never late, and nothing is left behind. */

const CHANNELS = ['a', 'a/b', 'c'];
const PATTERNS = ['a', 'a/*', '**', 'c'];

type Step =
  | {
      readonly kind: 'ask';
      readonly channel: number;
      readonly timeoutMs: number;
      readonly once: boolean;
      readonly key: number;
    }
  | { readonly kind: 'giveUp' | 'reply' | 'fail' | 'leave'; readonly which: number }
  | { readonly kind: 'join'; readonly pattern: number; readonly capacity: number }
  | { readonly kind: 'enable' | 'disable'; readonly which: number; readonly pattern: number }
  | { readonly kind: 'pass'; readonly ms: number };

const nat = fc.nat(30);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      channel: fc.nat(2),
      timeoutMs: fc.integer({ min: 1, max: 60 }),
      once: fc.boolean(),
      key: fc.nat(4),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('giveUp' as const, 'reply' as const, 'reply' as const, 'fail' as const, 'leave' as const),
      which: nat,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('join' as const),
      pattern: fc.nat(3),
      capacity: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('enable' as const, 'disable' as const),
      which: nat,
      pattern: fc.nat(3),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(40) }) },
);

interface Asked extends Asking {
  readonly dueMs: number;
  readonly once: boolean;
  givenUp: boolean;
}

/** Requests with a key stay in line when their caller has left. */
const KEYS = 4 * CHANNELS.length;

class Model {
  readonly world = new World();
  readonly asked: Asked[] = [];
  readonly responders: TestResponder[] = [];

  run(steps: readonly Step[]): void {
    for (const each of steps) this.#do(each);
    for (const responder of [...this.responders]) this.#leave(responder);
    this.world.pass(1_000);
    // Nobody answers keys any more that were out: they are forgotten with whoever had them.
    this.world.pass(600_000);
  }

  #do(each: Step): void {
    if (each.kind === 'pass') this.#pass(each.ms);
    else if (each.kind === 'join')
      this.responders.push(
        this.world.responder(`n${this.responders.length}`, [PATTERNS[each.pattern] ?? ''], each.capacity),
      );
    else if (each.kind === 'ask') this.#ask(each);
    else if (each.kind === 'giveUp') this.#giveUp(each.which);
    else {
      const responder = this.responders[each.which % Math.max(1, this.responders.length)];
      if (!responder) return;
      if (each.kind === 'reply' && responder.asked.length > 0) responder.reply('yes', pick(responder, each.which));
      else if (each.kind === 'fail' && responder.asked.length > 0) responder.fail('NO', pick(responder, each.which));
      else if (each.kind === 'leave') this.#leave(responder);
      else if (each.kind === 'enable') responder.enable(PATTERNS[each.pattern] ?? '');
      else if (each.kind === 'disable') responder.disable(PATTERNS[each.pattern] ?? '');
    }
    this.#check();
  }

  #ask({ channel, timeoutMs, once, key }: Extract<Step, { kind: 'ask' }>): void {
    const { world } = this;
    const asking = world.ask(CHANNELS[channel] ?? '', { timeoutMs, once, key: key === 0 ? '' : `k${key}` });
    this.asked.push({ ...asking, dueMs: world.nowMs + timeoutMs, once: once && key === 0, givenUp: false });
  }

  #giveUp(which: number): void {
    const asked = this.asked[which % Math.max(1, this.asked.length)];
    if (!asked || asked.answers.length > 0) return;
    asked.givenUp = true;
    asked.giveUp();
  }

  /** One millisecond at a time, so that what ends is seen at its moment. */
  #pass(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.world.pass(1);
      this.#check();
    }
  }

  #leave(responder: TestResponder): void {
    this.responders.splice(this.responders.indexOf(responder), 1);
    responder.leave();
    this.#check();
  }

  #check(): void {
    const { nowMs } = this.world;
    for (const { answers, dueMs, givenUp, once } of this.asked) {
      const [answer] = answers;
      if (once && answer && answer.attempts > 1) throw new Error('once means once');
      if (answers.length > 1) throw new Error('two answers');
      if (givenUp && answer) throw new Error('an answer to who gave up');
      if (!answer && !givenUp && nowMs >= dueMs) throw new Error('no answer at the deadline');
    }
    if (this.world.deadlines.size !== this.world.pending.count) throw new Error('a deadline of nothing');
    const waiting = this.asked.filter(({ answers, givenUp }) => answers.length === 0 && !givenUp).length;
    if (this.world.here.dispatcher.queued > waiting + KEYS) throw new Error('somebody in line whom nobody waits for');
    for (const { responder } of this.responders)
      if (responder.out.size > responder.capacity) throw new Error('more than its capacity');
  }

  /** What must hold when all is over. */
  get clean(): boolean {
    const { world } = this;
    return (
      world.pending.count === 0 &&
      world.pending.bytes === 0 &&
      world.deadlines.size === 0 &&
      world.here.dispatcher.queued === 0
    );
  }
}

const pick = ({ asked }: TestResponder, which: number): number => asked[which % asked.length]?.id ?? 0;

test('model: every request ends once, never after its deadline, and nothing of it stays', t => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), steps => {
      const model = new Model();
      try {
        model.run(steps);
        return model.clean;
      } finally {
        model.world.close();
      }
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('model: a reply that comes at the deadline or after is never one', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 0, max: 50 }),
      fc.boolean(),
      (timeoutMs, lateMs, keyed) => {
        const world = new World();
        try {
          const responder = world.responder('n', ['a']);
          const asking = world.ask('a', { timeoutMs, key: keyed ? 'k' : '' });
          // The clock went on and no timer has fired yet.
          world.nowMs += timeoutMs + lateMs;
          responder.reply('late');
          return asking.answers.length === 1 && asking.answers[0]?.kind === 'failed';
        } finally {
          world.close();
        }
      },
    ),
  );
  t.pass();
});
