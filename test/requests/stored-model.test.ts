import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { StoredExchange } from '../../gen/ts/fedgate/federation/v1/stored_request.js';
import { FedgateError, type Reason } from '../../src/errors.js';
import { STATE } from '../../src/requests/stored/asking.js';
import { MAX_ASKED_PER_NODE, MAX_STORED_ATTEMPTS, MAX_TAKEN_PER_ORG } from '../../src/requests/stored/terms.js';
import { Change } from '../../src/store/store.js';
import { readRecords } from '../../src/wire/record-codec.js';
import { blockOf } from '../../src/wire/records.js';
import { recordBlock } from '../support/attack.js';
import { carry, Side, turns } from './stored-world.js';

async function world(t?: ExecutionContext) {
  const clock = { nowMs: 1_000_000_000_000 };
  const [acme, globex] = [new Side('ACME', clock), new Side('GLOBEX', clock)];
  await acme.start();
  await globex.start();
  t?.teardown(async () => {
    await acme.close();
    await globex.close();
  });
  return { acme, globex };
}

async function carryAll(a: Side, b: Side): Promise<void> {
  for (let moved = true; moved; ) {
    await turns();
    moved = (await carry(a, b)) || (await carry(b, a));
  }
}

async function standing(side: Side, id: string) {
  const { row } = await side.stored.asking.get('asker', id);
  const outcome = row.answer?.outcome;
  const text =
    outcome?.$case === 'records' ? readRecords(blockOf(Buffer.from(outcome.value)))[0]?.payload.toString() : undefined;
  const failure = outcome?.$case === 'failure' ? outcome.value.reason : undefined;
  return { state: row.state, text, failure, node: row.answer?.node, attempts: row.answer?.attempts };
}

type Step =
  | 'ask'
  | 'carry there'
  | 'carry back'
  | 'reply'
  | 'die'
  | 'kill asker'
  | 'kill answerer'
  | 'time'
  | 'cancel'
  | 'late';
const step = fc.constantFrom<Step>(
  ...([
    'ask',
    'ask',
    'carry there',
    'carry there',
    'carry back',
    'reply',
    'reply',
    'die',
    'kill asker',
    'kill answerer',
    'time',
    'cancel',
    'late',
  ] as const),
);

test('stored: whoever is killed when, each ends once, with what a responder said, and nothing is lost', async t => {
  t.timeout(60_000);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async steps => {
      const { acme, globex } = await world();
      const ids = new Map<string, string>();
      const said = new Map<string, Set<string>>();
      const lastAttempt = new Map<string, number>();
      const ended = new Map<string, string>();
      const cancelled = new Set<string>();
      let count = 0;
      let replies = 0;
      const ask = async (key: string): Promise<void> => {
        const asked = await Promise.race([acme.ask(key, { key }), turns(30)]);
        if (asked) ids.set(key, asked.id);
      };
      let responders = [globex.responder('r0'), globex.responder('r1')];
      const reply = (at = 0): void => {
        const text = `reply ${++replies}`;
        const given = globex.reply(text, at);
        if (given) said.set(given.id, (said.get(given.id) ?? new Set()).add(text));
      };
      const look = (): void => {
        for (const { id, attempt } of globex.given) {
          const before = lastAttempt.get(id) ?? 0;
          if (attempt < before) throw new Error(`attempt ${attempt} of ${id} after ${before}`);
          lastAttempt.set(id, attempt);
        }
      };
      const check = async (): Promise<void> => {
        for (const id of ids.values()) {
          const { state, text, failure } = await standing(acme, id);
          if (state === STATE.waiting) continue;
          const what = `${state} ${text} ${failure}`;
          if ((ended.get(id) ?? what) !== what) throw new Error(`${id} was ${ended.get(id)} and is ${what}`);
          ended.set(id, what);
          if (state === STATE.answered && !said.get(id)?.has(text ?? '')) throw new Error(`${id}: nobody said ${text}`);
          if (state === STATE.cancelled && !cancelled.has(id)) throw new Error(`${id} was not cancelled`);
        }
      };
      const run: { readonly [each in Step]: () => Promise<void> | void } = {
        ask: () => ask(`k${++count}`),
        'carry there': async () => void (await carry(acme, globex)),
        'carry back': async () => void (await carry(globex, acme)),
        reply: () => reply(),
        late: () => reply(1),
        die: () => {
          const [first] = responders;
          if (!first) return;
          globex.given = globex.given.filter(({ responder }) => responder !== first);
          globex.dispatcher.remove(first);
          responders = [...responders.slice(1), globex.responder(`r${count}`)];
        },
        'kill asker': () => acme.crash(),
        'kill answerer': async () => {
          await globex.crash();
          responders = [globex.responder('r0'), globex.responder('r1')];
        },
        time: () => {
          acme.pass(0);
          globex.pass(250);
        },
        cancel: async () => {
          const [id] = [...ids.values()].slice(-1);
          if (!id) return;
          cancelled.add(id);
          await Promise.race([acme.stored.asking.cancel('asker', id), turns(30)]);
        },
      };
      for (const each of steps) {
        await run[each]();
        // Sometimes the next thing happens before this one is through.
        if (each !== 'ask') await turns(4);
        look();
      }
      await turns();
      for (let i = 1; i <= count; i++) if (!ids.has(`k${i}`)) await ask(`k${i}`);
      await check();
      for (let i = 0; i < 400 && (globex.stored.open > 0 || i < 3); i++) {
        await carryAll(acme, globex);
        look();
        reply();
        globex.pass(100);
        acme.pass(0);
      }
      await carryAll(acme, globex);
      await check();
      if (ids.size !== count) throw new Error(`${ids.size} of ${count} were asked`);
      for (const id of ids.values()) if (!ended.has(id)) throw new Error(`${id} never ended`);
      if (acme.stored.asking.open !== 0) throw new Error(`${acme.stored.asking.open} are counted as open`);
      if (globex.stored.open !== 0) throw new Error(`${globex.stored.open} are left`);
      await acme.close();
      await globex.close();
    }),
    { numRuns: 150, includeErrorInReport: true },
  );
  t.pass();
});

test('stored: a failure of the disk on either side loses nothing', async t => {
  const { acme, globex } = await world(t);
  globex.responder('r');
  const asked = await acme.ask('x');
  acme.store.failures = 1;
  const error = await t.throwsAsync<FedgateError>(acme.ask('y'));
  t.is(error?.reason, 'STORE_FAILED');
  await carryAll(acme, globex);
  globex.store.failures = 1;
  globex.reply('kept');
  // It is tried again after a while.
  do {
    await new Promise(resolve => setTimeout(resolve, 50));
    await carryAll(acme, globex);
  } while ((await standing(acme, asked.id)).state !== STATE.answered);
  t.like(await standing(acme, asked.id), { state: STATE.answered, text: 'kept', node: 'r', attempts: 1 });
  t.true(globex.events.some(({ kind }) => kind === 'failed'));
});

test('stored: refused, expired, without a survivor, too large: each ends with why', async t => {
  const { acme, globex } = await world(t);
  globex.refuses = node => node === 'asker';
  const refused = await acme.ask('x');
  await carryAll(acme, globex);
  t.like(await standing(acme, refused.id), { state: STATE.failed, failure: 'NOT_GRANTED' });
  globex.refuses = () => false;
  const late = await acme.ask('x', { expireAfterMs: 5_000 });
  await carryAll(acme, globex);
  t.is(globex.stored.open, 1);
  acme.pass(5_000);
  globex.pass(0);
  await turns();
  t.like(await standing(acme, late.id), { state: STATE.failed, failure: 'EXPIRED' });
  t.is(globex.stored.open, 0, 'nor does it wait there');
  const doomed = await acme.ask('x');
  await carryAll(acme, globex);
  for (let i = 1; i <= MAX_STORED_ATTEMPTS; i++) {
    const responder = globex.responder('r');
    await turns();
    t.is(globex.given.at(-1)?.attempt, i);
    globex.dispatcher.remove(responder);
    globex.pass(60_000);
    await turns();
  }
  await carryAll(acme, globex);
  t.like(await standing(acme, doomed.id), {
    state: STATE.failed,
    failure: 'RESPONDER_GONE',
    attempts: MAX_STORED_ATTEMPTS,
  });
  globex.given = [];
  globex.responder('r');
  const large = await acme.ask('x');
  await carryAll(acme, globex);
  globex.reply('x'.repeat(600_000));
  await carryAll(acme, globex);
  t.like(await standing(acme, large.id), { state: STATE.failed, failure: 'FRAME_TOO_LARGE' });
  t.is((await t.throwsAsync<FedgateError>(acme.ask('x'.repeat(500_000))))?.reason, 'FRAME_TOO_LARGE');
});

test('stored: a gateway that does not look at what is said ends each request with why', async t => {
  const { acme, globex } = await world(t);
  const fates: [Reason, string][] = [
    ['CHANNEL_RESERVED', 'FEATURE_UNSUPPORTED'],
    ['LIMIT_REACHED', 'LIMIT_REACHED'],
  ];
  for (const [reason, failure] of fates) {
    const { id } = await acme.ask('x');
    const [sent] = (await acme.onTheWay('GLOBEX')).slice(-1);
    const change = new Change();
    const payloads = [sent?.value ?? Buffer.alloc(0), Buffer.from([0xff])];
    const after = acme.stored.refused(globex.org, payloads, new FedgateError(reason, 'no'), change);
    await acme.store.commit(change);
    after();
    await turns();
    t.like(await standing(acme, id), { state: STATE.failed, failure });
  }
});

test('stored: a policy is asked on both sides; one that is away is asked again, and its no is the end', async t => {
  const { acme, globex } = await world(t);
  acme.policy = () => Promise.reject(new FedgateError('NOT_GRANTED', 'not by the policy'));
  t.is((await t.throwsAsync<FedgateError>(acme.ask('x')))?.reason, 'NOT_GRANTED');
  acme.policy = () => undefined;
  globex.policy = () => Promise.reject(new FedgateError('LIMIT_REACHED', 'ask again'));
  const { id } = await acme.ask('x');
  globex.responder('r');
  await carryAll(acme, globex);
  t.deepEqual([globex.given.length, globex.stored.open], [0, 1]);
  globex.policy = () => Promise.reject(new FedgateError('NOT_GRANTED', 'not by the policy'));
  globex.pass(1_000);
  await carryAll(acme, globex);
  t.like(await standing(acme, id), { state: STATE.failed, failure: 'NOT_GRANTED' });
  t.deepEqual([globex.given.length, globex.stored.open], [0, 0]);
});

test('stored: one that is disabled, busy or silent gets no more than it may, and late answers count once', async t => {
  const { acme, globex } = await world(t);
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.push((await acme.ask(`${i}`)).id);
  await carryAll(acme, globex);
  const silent = globex.responder('silent', 'q', 1);
  await turns();
  t.is(globex.given.length, 1);
  globex.pass(600_000);
  await turns();
  const good = globex.responder('good', 'q', 1);
  globex.pass(1_000);
  await turns();
  for (let i = 0; i < 5; i++) {
    const at = globex.given.findIndex(({ responder }) => responder === good);
    globex.reply(`good ${i}`, at);
    globex.pass(1_000);
    await turns();
  }
  t.deepEqual([globex.given.length, globex.given[0]?.responder === silent], [1, true]);
  globex.reply('too late', 0);
  await carryAll(acme, globex);
  const stands = await Promise.all(ids.map(id => standing(acme, id)));
  t.true(stands.every(({ text }) => text?.startsWith('good')));
  t.is(stands.filter(({ attempts }) => attempts === 2).length, 1);
});

test('stored: a cancelled one is taken from who has it; acknowledged, its key is known for a while', async t => {
  const { acme, globex } = await world(t);
  const told: string[] = [];
  const { id } = await acme.ask('x', { key: 'order-17' });
  t.deepEqual(await acme.ask('x', { key: 'order-17' }), {
    id,
    duplicate: true,
    expireMs: acme.clock.nowMs + 7 * 86_400_000,
  });
  acme.stored.asking.watch('asker', id, () => told.push('changed'));
  t.is((await t.throwsAsync<FedgateError>(acme.stored.asking.acknowledge('asker', id)))?.reason, 'REQUEST_OPEN');
  t.throws(() => acme.stored.asking.watch('other', id, () => undefined));
  globex.responder('r');
  await carryAll(acme, globex);
  t.is(globex.given.length, 1);
  await acme.stored.asking.cancel('asker', id);
  await carryAll(acme, globex);
  t.is(globex.stored.open, 0);
  globex.reply('never mind');
  await carryAll(acme, globex);
  t.is((await standing(acme, id)).state, STATE.cancelled);
  await acme.stored.asking.acknowledge('asker', id);
  t.true((await acme.ask('x', { key: 'order-17' })).duplicate);
  acme.pass(600_000);
  await turns();
  t.is((await t.throwsAsync<FedgateError>(acme.stored.asking.get('asker', id)))?.reason, 'REQUEST_UNKNOWN');
  t.is(told.length, 3);
});

test('stored: within the own organisation, over a crash', async t => {
  const { acme } = await world(t);
  const { id } = await acme.ask('x', { address: 'q' });
  t.is(acme.stored.asking.open, 1);
  await acme.crash();
  await turns();
  t.deepEqual([acme.stored.asking.open, acme.stored.open], [1, 1], 'counted from the disk');
  acme.responder('r');
  await turns();
  acme.reply('own');
  await turns();
  t.like(await standing(acme, id), { state: STATE.answered, text: 'own', attempts: 1 });
  t.deepEqual([acme.stored.asking.open, acme.stored.open], [0, 0]);
});

test('stored: what a lying gateway says is ignored: answers of others, twice, to nobody; bad records; floods', async t => {
  const { acme, globex } = await world(t);
  const { id } = await acme.ask('x');
  const hear = async (
    side: Side,
    from: string,
    what: NonNullable<StoredExchange['what']>,
    times = 1,
  ): Promise<void> => {
    const change = new Change();
    const bytes = Buffer.from(StoredExchange.encode({ what }).finish());
    const after = side.stored.receive(
      from as never,
      Array.from({ length: times }, () => bytes),
      change,
    );
    await side.store.commit(change);
    after();
    await turns();
  };
  const raw = Buffer.from(id, 'hex');
  const answer = (text: string, node = 'clerk', of = raw) =>
    ({
      $case: 'answer',
      value: { id: of, node, attempts: 1, outcome: { $case: 'records', value: recordBlock(text).bytes } },
    }) as const;
  await hear(acme, 'INITECH', answer('not asked'));
  await hear(acme, 'GLOBEX', answer('to nobody', 'clerk', Buffer.alloc(16, 9)));
  t.is((await standing(acme, id)).state, STATE.waiting);
  t.throws(() => acme.stored.receive('GLOBEX' as never, [Buffer.from([0xff, 0xff])], new Change()), {
    message: /StoredExchange/,
  });
  t.throws(() =>
    acme.stored.receive(
      'GLOBEX' as never,
      [Buffer.from(StoredExchange.encode({ what: { $case: 'cancel', value: { id: Buffer.alloc(3) } } }).finish())],
      new Change(),
    ),
  );
  await hear(acme, 'GLOBEX', answer('one'), 3);
  await hear(acme, 'GLOBEX', answer('two'));
  t.is((await standing(acme, id)).text, 'one');
  const nameless = await acme.ask('x');
  await hear(acme, 'GLOBEX', answer('y', '../x', Buffer.from(nameless.id, 'hex')));
  t.like(await standing(acme, nameless.id), { state: STATE.failed, failure: 'OUTCOME_UNKNOWN' });
  const forged = await acme.ask('x');
  const failure = { reason: 'APPLICATION_ERROR', message: 'x'.repeat(100_000) };
  await hear(acme, 'GLOBEX', {
    $case: 'answer',
    value: { id: Buffer.from(forged.id, 'hex'), node: '', attempts: 0, outcome: { $case: 'failure', value: failure } },
  });
  t.is((await standing(acme, forged.id)).failure, 'OUTCOME_UNKNOWN');
  const ask = (n: number, records: Uint8Array = recordBlock('x').bytes) => {
    const of = Buffer.alloc(16);
    of.writeUInt32BE(n);
    return {
      $case: 'ask',
      value: { id: of, channel: 'q', senderNode: 'n', expireTimeMs: 9_000_000_000_000n, records },
    } as const;
  };
  await hear(globex, 'ACME', ask(1, Buffer.from('no record')));
  await hear(globex, 'ACME', ask(2), 2);
  t.is(globex.stored.open, 1);
  for (let n = 3; n < MAX_TAKEN_PER_ORG + 500; n += 500) {
    const change = new Change();
    const some = Array.from({ length: 500 }, (_, i) =>
      Buffer.from(StoredExchange.encode({ what: ask(n + i) }).finish()),
    );
    const after = globex.stored.receive('ACME' as never, some, change);
    await globex.store.commit(change);
    after();
  }
  while (globex.stored.open < MAX_TAKEN_PER_ORG - 64) await turns();
  await turns(100);
  t.true(globex.stored.open <= MAX_TAKEN_PER_ORG);
  t.true((await globex.onTheWay('ACME')).length > 1, 'the others are refused with why');
  t.true(MAX_ASKED_PER_NODE >= 1_000);
});
