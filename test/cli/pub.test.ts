import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import test from 'ava';
import {
  AckLevel,
  Delivery,
  MessagingServiceService,
  PublishResult,
  type PublishStreamRequest,
  type PublishStreamResponse,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { EXIT } from '../../src/cli/exit-codes.js';
import { FedgateError } from '../../src/errors.js';
import { toRpcStatus } from '../../src/transport/status.js';
import { type CommandSettings, fedgate } from '../support/cli.js';
import { startFakeGateway } from '../support/fake-durable-service.js';
import type { TestScope } from '../support/registry.js';

type Answer = (frame: PublishStreamRequest) => Parameters<typeof PublishResult.fromPartial>[0];

/** A gateway that answers each frame as the test says; what is thrown is the answer too. */
async function startGateway(t: TestScope, answer: Answer) {
  const frames: PublishStreamRequest[] = [];
  const { context } = await startFakeGateway(t, calls => {
    const outcomeOf = (frame: PublishStreamRequest): PublishStreamResponse['outcome'] => {
      try {
        return { $case: 'result', value: PublishResult.fromPartial({ org: 'GLOBEX', side: 2, ...answer(frame) }) };
      } catch (error) {
        return { $case: 'error', value: toRpcStatus(error as FedgateError) };
      }
    };
    const publishStream = calls.bidi<PublishStreamRequest, PublishStreamResponse>(async (call, out) => {
      call.on('data', (frame: PublishStreamRequest) => {
        frames.push(frame);
        void out.send({ frameId: frame.frameId, outcome: outcomeOf(frame) });
      });
      await once(call, 'end');
    });
    return [{ definition: MessagingServiceService, implementation: { publishStream } }];
  });
  const run = (args: readonly string[], settings?: CommandSettings) =>
    fedgate(['pub', ...args, '--context', context], settings);
  return { frames, run };
}

const ADDRESS = 'pubsub://GLOBEX/orders/created';
const { ACK_LEVEL_STORED, ACK_LEVEL_RECEIVED, ACK_LEVEL_CONSUMED } = AckLevel;
const EPOCH = 1_863_000_000_000_000_001n;
const durable = (level: AckLevel, duplicate = false) => ({ level, duplicate, streamEpoch: EPOCH, sequence: 12n });
const late = (): never => {
  throw new FedgateError(
    'ACK_TIMEOUT',
    'GLOBEX has not confirmed within 5 s; the records are stored and will be sent',
    {
      metadata: { level: 'stored' },
    },
  );
};

test('pub: durable by default, received within 5 s; the options say otherwise', async t => {
  const { frames, run } = await startGateway(t, ({ ack }) => durable(ack));
  const usual = await run([ADDRESS, 'hello']);
  t.deepEqual([usual.code, usual.stdout], [EXIT.ok, 'GLOBEX has it on stable storage\n']);
  t.like(frames.at(-1), { delivery: Delivery.DELIVERY_UNSPECIFIED, ack: ACK_LEVEL_RECEIVED, ackTimeoutMs: 5_000 });
  const full = ['--id', 'order-17', '--dedupe', '--ack', 'consumed', '--ack-timeout', '1m', '--ttl', '1h'];
  t.is((await run([ADDRESS, 'hello', ...full])).stdout, 'a durable subscription in GLOBEX has acknowledged it\n');
  t.like(frames.at(-1), {
    delivery: Delivery.DELIVERY_DURABLE,
    ack: ACK_LEVEL_CONSUMED,
    ackTimeoutMs: 60_000,
    ttlMs: 3_600_000n,
    dedupeId: 'order-17',
  });
  t.regex((await run([ADDRESS, 'hello', '--ack', 'stored'])).stdout, /^stored here; it is sent when GLOBEX can be/);
  const json = JSON.parse((await run([ADDRESS, 'hello', '--json'])).stdout);
  t.like(json, {
    records: 1,
    side: 'remote',
    org: 'GLOBEX',
    level: 'received',
    streamEpoch: String(EPOCH),
    sequence: 12,
  });
});

test('pub: --live asks for live delivery, and excludes what only the durable kind has', async t => {
  const { frames, run } = await startGateway(t, () => ({ subscribers: 1 }));
  t.is((await run([ADDRESS, 'hello', '--live'])).stdout, 'delivered to 1 subscription in GLOBEX\n');
  t.is(frames.at(-1)?.delivery, Delivery.DELIVERY_LIVE);
  for (const [option, ...value] of [
    ['--ack', 'stored'],
    ['--ttl', '1h'],
    ['--dedupe', '--id', 'x'],
  ] as const) {
    const { code, stderr } = await run([ADDRESS, 'hello', '--live', option, ...value]);
    t.is(code, EXIT.usage);
    t.true(stderr.includes(`${option}: not with --live`), stderr);
  }
  t.regex((await run([ADDRESS, 'hello', '--dedupe'])).stderr, /--dedupe: needs --id/);
  t.regex((await run([ADDRESS, '--lines', '--dedupe', '--id', 'x'])).stderr, /--dedupe: not with --lines/);
  t.is((await run([ADDRESS, 'hello', '--ack', 'never'])).code, EXIT.usage);
  t.is(frames.length, 1);
});

test('pub: a repetition is said to be one', async t => {
  const { run } = await startGateway(t, () => durable(ACK_LEVEL_RECEIVED, true));
  const { stdout } = await run([ADDRESS, 'hello', '--id', 'order-17', '--dedupe']);
  t.is(stdout, 'GLOBEX has it on stable storage; it was published before, and is not stored again\n');
});

test('pub: what is stored in the own organisation tells its offset', async t => {
  const { run } = await startGateway(t, () => ({ ...durable(ACK_LEVEL_STORED), side: 1 as const, org: 'ACME' }));
  t.is((await run(['own', 'hello'])).stdout, 'stored in ACME, your own organisation, at offset 12\n');
});

test('pub: an organisation that is away is no failure, unless a level was asked for', async t => {
  const { run } = await startGateway(t, late);
  const usual = await run([ADDRESS, 'hello']);
  t.is(usual.code, EXIT.ok);
  t.is(usual.stdout, 'stored here; GLOBEX has not confirmed within 5 s, it is sent when GLOBEX can be reached\n');
  t.like(JSON.parse((await run([ADDRESS, 'hello', '--json'])).stdout), { level: 'stored', confirmed: false });
  const asked = await run([ADDRESS, 'hello', '--ack', 'received']);
  t.is(asked.code, EXIT.unreachable);
  t.regex(asked.stderr, /GLOBEX has not confirmed .*\[ACK_TIMEOUT\]/);
});

test('pub --lines: waits for all, and says where they are', async t => {
  const { frames, run } = await startGateway(t, () => durable(ACK_LEVEL_RECEIVED));
  const { code, stdout } = await run([ADDRESS, '--lines'], { stdin: 'one\ntwo\nthree' });
  t.deepEqual([code, stdout], [EXIT.ok, 'published 3 lines, 11 bytes; GLOBEX has all on stable storage\n']);
  t.like(frames[0], { ack: ACK_LEVEL_RECEIVED, ackTimeoutMs: 30_000 });
  const live = await startGateway(t, () => ({ subscribers: 0 }));
  const nobody = await live.run([ADDRESS, '--lines', '--live'], { stdin: 'one\n' });
  t.is(nobody.code, EXIT.nothingThere);
  t.is(nobody.stdout, 'published 1 lines, 4 bytes; nobody was there for 1\n'.replace('4', '3'));
});

test('pub --lines: when the other side is away the rest is only stored, and none is to be published again', async t => {
  const { frames, run } = await startGateway(t, ({ ack }) => (ack === ACK_LEVEL_STORED ? durable(ack) : late()));
  const slow = (): PassThrough => {
    const input = new PassThrough();
    input.write('one\n');
    const again = setInterval(() => {
      if (frames.length === 0) return;
      clearInterval(again);
      input.end('two\n');
    }, 5);
    return input;
  };
  const usual = await run([ADDRESS, '--lines'], { stdin: slow() });
  t.is(usual.code, EXIT.ok);
  t.regex(usual.stdout, /^published 2 lines, 6 bytes; 2 of them are stored here: GLOBEX has not confirmed within 30 s/);
  frames.length = 0;
  const asked = await run([ADDRESS, '--lines', '--ack', 'received', '--json'], { stdin: slow() });
  t.is(asked.code, EXIT.unreachable);
  t.like(JSON.parse(asked.stdout), { records: 2, durable: 2, unconfirmed: 2 });
});

test('pub --lines: a refusal ends it and says how to carry on', async t => {
  const { run } = await startGateway(t, ({ records }) => {
    if (records.some(({ payload }) => Buffer.from(payload).includes('two')))
      throw new FedgateError('OUTBOX_FULL', 'GLOBEX: 4.0 GiB wait');
    return durable(ACK_LEVEL_RECEIVED);
  });
  // It stays open, as that of `tail -f` would: the refusal is told all the same.
  const input = new PassThrough();
  input.write('one\n');
  setImmediate(() => setImmediate(() => input.write('two\nthree\n')));
  const { code, stderr } = await run([ADDRESS, '--lines', '--skip', '0'], { stdin: input });
  t.is(code, EXIT.limit);
  t.regex(stderr, /[01] lines were published; --skip [01] carries on behind them/);
  t.regex(stderr, /\[OUTBOX_FULL\]/);
});
