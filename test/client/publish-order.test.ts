import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { FedgateError, type PublishOptions } from '../../src/client/index.js';
import { FakeGateway, type Verdict } from '../support/fake-gateway.js';

const FULL = new FedgateError('OUTBOX_FULL', 'full');
const VERDICTS: readonly Verdict[] = ['store', 'store', 'store', 'store', 'store', FULL, FULL, 'live'];
const ADDRESSES = ['pubsub://GLOBEX/orders', 'orders', 'pubsub://INITECH/orders'];
const TERMS: readonly PublishOptions[] = [{}, { ttlMs: 9 }, { ack: 'received' }, { dedupe: true }];

interface Step {
  readonly address: number;
  readonly terms: number;
  readonly pause: boolean;
}

const steps = fc.array(
  fc.record({ address: fc.nat(ADDRESSES.length - 1), terms: fc.nat(TERMS.length - 1), pause: fc.boolean() }),
  { minLength: 20, maxLength: 120 },
);
/** What the gateway does with the frames, in turn; and where streams break and disks fail. */
const script = fc.record({
  verdicts: fc.array(fc.nat(VERDICTS.length - 1), { minLength: 1, maxLength: 60 }),
  cuts: fc.array(fc.record({ at: fc.nat(150), after: fc.boolean() }), { maxLength: 3 }),
  failures: fc.array(fc.nat(40), { maxLength: 4 }),
});

test('publish: whatever is refused, fails or breaks off, each record that was answered is stored once and in order', async t => {
  const gateway = await FakeGateway.start(t);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(steps, script, async (sequence: readonly Step[], { verdicts, cuts, failures }) => {
      const name = `run${run++}`;
      gateway.stored.length = 0;
      const live = new Set<string>();
      let judged = 0;
      let commits = 0;
      gateway.judge = (_, texts) => {
        const at = judged++;
        const cut = cuts.find(each => each.at === at);
        if (cut) return cut.after ? 'cut after' : 'cut before';
        const verdict = VERDICTS[verdicts[at % verdicts.length] ?? 0] ?? 'store';
        if (verdict === 'live') for (const text of texts) live.add(text);
        return verdict;
      };
      gateway.commitFails = () => failures.includes(commits++);
      const client = await gateway.connect(t);
      const reports = sequence.map(async ({ address, terms, pause }, i) => {
        for (let wait = 0; wait < i / 4; wait++) await turn();
        const payload = `${name}-${i}`;
        const to = `${ADDRESSES[address]}/${name}`;
        const report = client.publish(to, { payload, id: payload }, TERMS[terms]);
        if (pause) await turn();
        return { to, payload, i, outcome: await report.catch((error: FedgateError) => error.reason) };
      });
      const outcomes = await Promise.all(reports);
      await client.drain();
      for (const { payload, outcome } of outcomes) {
        const times = gateway.texts.filter(text => text === payload).length;
        if (typeof outcome === 'string') {
          if (!['OUTBOX_FULL', 'STORE_FAILED'].includes(outcome)) throw new Error(`${payload}: ${outcome}`);
          if (times !== 0) throw new Error(`${payload}: ${outcome}, and stored`);
        } else if (times !== (outcome.level === undefined ? 0 : 1)) {
          throw new Error(`${payload}: stored ${times} times, ${live.has(payload) ? 'live' : 'durable'}`);
        }
      }
      for (const to of new Set(outcomes.map(each => each.to))) {
        const stored = gateway.stored.filter(({ frame }) => frame.address === to).flatMap(({ texts }) => texts);
        const indices = stored.map(text => Number(text.split('-')[1]));
        if (indices.some((index, at) => at > 0 && index < (indices[at - 1] ?? 0)))
          throw new Error(`${to}: stored in the order ${indices.join(' ')}`);
      }
    }),
    { numRuns: 60, interruptAfterTimeLimit: 60_000 },
  );
  t.pass();
});
