import { once } from 'node:events';
import test from 'ava';
import {
  type ConsumeRequest,
  ConsumeResponse,
  MessagingServiceService,
  type SubscriptionSpec,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { Record } from '../../gen/ts/fedgate/messaging/v1/record.js';
import { EXIT } from '../../src/cli/exit-codes.js';
import { FedgateError } from '../../src/errors.js';
import { fedgate, startFedgate } from '../support/cli.js';
import { startFakeGateway } from '../support/fake-durable-service.js';
import type { TestScope } from '../support/registry.js';

type Delivery = Parameters<typeof ConsumeResponse.fromPartial>[0];

const STORED_MS = Date.UTC(2026, 2, 1, 12);
const records = (offset: number, texts: readonly string[], deliveryCount = 1): Delivery => ({
  channel: 'orders/created',
  senderOrg: 'ACME',
  senderNode: 'shop',
  offset: BigInt(offset),
  deliveryCount,
  storedTimeMs: BigInt(STORED_MS),
  records: texts.map(text => Record.fromPartial({ timeMs: BigInt(STORED_MS), payload: Buffer.from(text) })),
});

/** A gateway that sends these as soon as it has any credit, and writes down what is acknowledged. */
async function startGateway(t: TestScope, deliveries: readonly Delivery[]) {
  const starts: SubscriptionSpec[] = [];
  const acknowledged: number[] = [];
  const { context } = await startFakeGateway(t, calls => {
    const consume = calls.bidi<ConsumeRequest, ConsumeResponse>(async (call, out) => {
      const send = (delivery: Delivery): void => void out.send(ConsumeResponse.fromPartial(delivery));
      const settled = (ackId: bigint): void => {
        if (ackId > 0n) send({ notice: { event: { $case: 'settled', value: { ackId } } } });
      };
      let sent = false;
      call.on('data', ({ frame }: ConsumeRequest) => {
        if (frame?.$case === 'start') {
          starts.push(frame.value);
          send({ notice: { event: { $case: 'opened', value: { gateway: 'gw1', offset: 0n, created: true } } } });
        } else if (frame?.$case === 'credit' && !sent) {
          sent = true;
          for (const delivery of deliveries) send(delivery);
        } else if (frame?.$case === 'ack') {
          for (const { first, last } of frame.value.ranges)
            for (let offset = first; offset <= last; offset++) acknowledged.push(Number(offset));
          settled(frame.value.ackId);
        } else if (frame?.$case === 'nack') settled(frame.value.ackId);
      });
      await once(call, 'end');
    });
    return [{ definition: MessagingServiceService, implementation: { consume } }];
  });
  const run = (...args: string[]) =>
    fedgate(['sub', 'orders/*', '--durable', 'billing', ...args, '--context', context]);
  return { context, starts, acknowledged, run };
}

test('sub --durable: --count acknowledges exactly those it printed', async t => {
  const { acknowledged, run } = await startGateway(t, [records(7, ['one', 'two', 'three']), records(10, ['four'])]);
  const { code, stdout } = await run('--raw', '--count', '2');
  t.deepEqual([code, stdout], [EXIT.ok, 'one\ntwo\n']);
  t.deepEqual(acknowledged, [7, 8]);
});

test('sub --durable: the options make the subscription', async t => {
  const { starts, run } = await startGateway(t, [records(0, ['one'])]);
  await run('--count', '1', '--from', '2026-03-01T12:00:00Z', '--group', '--ack-wait', '1m', '--max-deliveries', '3');
  t.like(starts[0], {
    name: 'billing',
    pattern: 'orders/*',
    from: { at: { $case: 'timeMs', value: BigInt(STORED_MS) } },
    group: true,
    ackWaitMs: 60_000,
    maxDeliveries: 3,
  });
});

test('sub --durable: a redelivery is marked, in the readable format and in JSON', async t => {
  const { run } = await startGateway(t, [records(7, ['one'], 2), records(8, ['two'])]);
  const readable = await run('--count', '2');
  t.is(
    readable.stdout,
    [
      '12:00:00.000  ACME/shop  orders/created  (delivery 2)  one\n',
      '12:00:00.000  ACME/shop  orders/created  two\n',
    ].join(''),
  );
  const [first] = (await run('--count', '2', '--json')).stdout.split('\n').map(line => JSON.parse(line || '{}'));
  t.like(first, { offset: 7, deliveryCount: 2, storedTime: '2026-03-01T12:00:00.000Z', payload: 'one' });
});

test('sub --durable: gaps, expiries and dead letters are told, in JSON among the records', async t => {
  const range = { first: 1n, last: 3n };
  const notices: Delivery[] = [
    {
      notice: {
        event: {
          $case: 'gap',
          value: { range, channel: 'orders/created', senderOrg: 'ACME', records: 3n, reason: 'lost\u001b[2J' },
        },
      },
    },
    {
      notice: {
        event: {
          $case: 'expired',
          value: { range: { first: 4n, last: 4n }, channel: 'a', senderOrg: 'ACME', records: 1n },
        },
      },
    },
    {
      notice: {
        event: {
          $case: 'deadLettered',
          value: { range: { first: 5n, last: 5n }, channel: 'a', reason: '10 deliveries' },
        },
      },
    },
  ];
  const { run } = await startGateway(t, [...notices, records(6, ['one'])]);
  const readable = await run('--count', '1');
  t.regex(
    readable.stderr,
    /missing, and will not come: 3 records of orders\/created from ACME \(offsets 1 to 3\): lost\\u001b\[2J/,
  );
  t.regex(readable.stderr, /the time to live was over: 1 record of a from ACME \(offset 4\)$/m);
  t.regex(readable.stderr, /a dead letter now: 1 record of a \(offset 5\): 10 deliveries$/m);
  const json = (await run('--count', '1', '--json')).stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
  t.deepEqual(
    json.map(({ notice }) => notice),
    ['gap', 'expired', 'deadLettered', undefined],
  );
  t.like(json[0], { first: 1, last: 3, channel: 'orders/created', senderOrg: 'ACME', records: 3 });
});

test('sub --durable: Ctrl-C settles what was printed, and exits with 130', async t => {
  const { context, acknowledged } = await startGateway(t, [records(7, ['one', 'two'])]);
  const sub = startFedgate(t, ['sub', 'orders/*', '--durable', 'billing', '--raw', '--context', context]);
  await sub.printed('two\n');
  sub.child.kill('SIGINT');
  t.is(await sub.exited, EXIT.interrupted);
  t.deepEqual(acknowledged, [7, 8]);
  t.regex(sub.stderr, /interrupted; 2 records were acknowledged, what follows waits for the next time/);
});

test('sub --durable: --timeout before --count settles too, and exits by it', async t => {
  const { acknowledged, run } = await startGateway(t, [records(7, ['one'])]);
  const { code, stderr } = await run('--count', '2', '--timeout', '1s');
  t.is(code, EXIT.nothingThere);
  t.regex(stderr, /1 of 2 records came in time/);
  t.deepEqual(acknowledged, [7]);
});

test('sub --durable: options that are only for it need it, and are checked', async t => {
  const { run, context } = await startGateway(t, []);
  for (const option of [['--from', 'earliest'], ['--group'], ['--ack-wait', '1m'], ['--max-deliveries', '3']]) {
    const { code, stderr } = await fedgate(['sub', 'orders/*', ...option, '--context', context]);
    t.is(code, EXIT.usage);
    t.true(stderr.includes(`${option[0]}: only with --durable`), stderr);
  }
  t.regex((await run('--from', 'then')).stderr, /--from: "then" is no position/);
  t.regex((await run('--max-deliveries', '0')).stderr, /--max-deliveries: "0" is not a whole number from 1 on/);
});

test('sub --durable: what the gateway refuses ends it', async t => {
  const { context } = await startFakeGateway(t, calls => {
    const consume = calls.bidi<ConsumeRequest, ConsumeResponse>(async call => {
      call.resume();
      await once(call, 'data').catch(() => undefined);
      throw new FedgateError('SUBSCRIPTION_MISMATCH', 'subscription billing has the pattern invoices');
    });
    return [{ definition: MessagingServiceService, implementation: { consume } }];
  });
  const { code, stderr } = await fedgate(['sub', 'orders/*', '--durable', 'billing', '--context', context]);
  t.is(code, EXIT.usage);
  t.regex(stderr, /has the pattern invoices \[SUBSCRIPTION_MISMATCH\]/);
});
