import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import {
  MessagingServiceService,
  PublishRequest,
  PublishStreamRequest,
  PublishStreamResponse,
  SubscribeRequest,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { loadContext } from '../../src/client/context.js';
import type { FedgateClient } from '../../src/client/index.js';
import type { FedgateError, Reason } from '../../src/errors.js';
import { fromRpcStatus } from '../../src/transport/status.js';
import { ask, RawStream, recordBlock } from '../support/attack.js';
import { sendCompressed } from '../support/compressed.js';
import { startFederation, type TestOrg, take } from '../support/federation.js';
import { heldBytes } from '../support/memory.js';

/** A node that hand-writes its frames, and one that is honest. */
let acme: TestOrg;
let node: FedgateClient;
let honest: FedgateClient;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };
const ACCESS = `nodes:
  - { node: evil, publish: ["**", "pubsub://*/**"], subscribe: ["orders/*", "deep/**"] }
  - { node: honest, publish: ["**"], subscribe: ["**"], status: true }`;

test.before(async () => {
  ({ ACME: acme } = await startFederation(scope, { ACME: { access: ACCESS } }));
  node = await acme.node('evil');
  honest = await acme.node('honest');
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const PUBLISH_STREAM = MessagingServiceService.publishStream.path;
const open = (): RawStream => new RawStream(node.channel, PUBLISH_STREAM);
const RECORDS = [
  { id: '', key: Buffer.alloc(0), timeMs: 0n, contentType: '', headers: new Map(), payload: Buffer.from('x') },
];
const frame = (frameId: number, address = 'orders/a', patienceMs = 0): Buffer =>
  Buffer.from(
    PublishStreamRequest.encode({
      ...PublishStreamRequest.fromPartial({}),
      frameId: BigInt(frameId),
      address,
      patienceMs,
      records: RECORDS,
    }).finish(),
  );
const answerTo = (stream: RawStream, id: number) =>
  stream.until(bytes => {
    const answer = PublishStreamResponse.decode(bytes);
    return answer.frameId === BigInt(id) ? answer.outcome : undefined;
  });
const stillServes = async (t: ExecutionContext): Promise<void> => {
  t.is((await honest.publish('health/check', 'x')).side, 'local');
};
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
const raw = (id: number, address: string, records: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x08, ...varint(id), 0x12, ...varint(address.length)]), Buffer.from(address), records]);
const oneRecord = (size: number): Buffer => Buffer.concat([Buffer.from([0x7a, ...varint(size)]), Buffer.alloc(size)]);

const ENDINGS: readonly {
  readonly title: string;
  readonly bytes: () => Buffer;
  readonly reason: Reason;
  readonly field?: string;
}[] = [
  { title: 'an empty frame', bytes: () => Buffer.alloc(0), reason: 'FIELD_INVALID', field: 'records' },
  { title: 'a truncated frame', bytes: () => frame(1).subarray(0, -1), reason: 'FRAME_MALFORMED' },
  { title: 'field 0', bytes: () => Buffer.from([0x00, 0x00]), reason: 'FRAME_MALFORMED' },
  { title: 'a group', bytes: () => Buffer.from([0x0b, 0x0c]), reason: 'FRAME_MALFORMED' },
  { title: 'a varint without end', bytes: () => Buffer.alloc(20, 0xff), reason: 'FRAME_MALFORMED' },
  {
    title: 'a frame id over 2^53',
    bytes: () => Buffer.from('08ffffffffffffffffff01', 'hex'),
    reason: 'FRAME_MALFORMED',
  },
  { title: 'a length over the frame', bytes: () => Buffer.from('7affffffff0f00', 'hex'), reason: 'FRAME_MALFORMED' },
  {
    title: 'an unknown field',
    bytes: () => Buffer.concat([frame(1), Buffer.from([0x70, 0x01])]),
    reason: 'FRAME_MALFORMED',
  },
  {
    title: 'a record that is a number',
    bytes: () => Buffer.concat([frame(1), Buffer.from([0x78, 0x01])]),
    reason: 'FRAME_MALFORMED',
  },
  { title: 'no frame id', bytes: () => frame(0), reason: 'FIELD_INVALID', field: 'frame_id' },
  { title: 'no address', bytes: () => frame(1, ''), reason: 'FIELD_INVALID', field: 'address' },
  { title: 'no records', bytes: () => raw(1, 'a', Buffer.alloc(0)), reason: 'FIELD_INVALID', field: 'records' },
  {
    title: '65,537 records',
    bytes: () => raw(1, 'a', Buffer.alloc(65_537 * 2).fill(Buffer.from([0x7a, 0x00]))),
    reason: 'FRAME_TOO_LARGE',
  },
  { title: 'a record over 1 MiB', bytes: () => raw(1, 'a', oneRecord(1024 * 1024 + 1)), reason: 'FRAME_TOO_LARGE' },
  {
    title: 'a frame over 2 MiB',
    bytes: () => raw(1, 'a', Buffer.concat([1, 2, 3].map(() => oneRecord(800_000)))),
    reason: 'FRAME_TOO_LARGE',
  },
  { title: 'a message over 4 MiB', bytes: () => Buffer.alloc(5_000_000), reason: 'FRAME_TOO_LARGE' },
];
for (const { title, bytes, reason, field } of ENDINGS) {
  test.serial(`publish stream: ${title} ends it with ${reason}${field ? ` naming ${field}` : ''}`, async t => {
    const stream = open().write(bytes());
    const error = await stream.ended;
    t.is(error?.reason, reason, error?.message);
    if (field)
      t.deepEqual(
        error?.fields.map(each => each.field),
        [field],
      );
    await stillServes(t);
  });
}

test.serial(
  'publish stream: a frame id that does not rise ends it, after the earlier frames were answered',
  async t => {
    for (const second of [5, 4]) {
      const stream = open().write(frame(5));
      t.is((await answerTo(stream, 5)).$case, 'result');
      stream.write(frame(second));
      t.deepEqual(
        (await stream.ended)?.fields.map(each => each.field),
        ['frame_id'],
      );
    }
  },
);

test.serial('publish stream: what stands behind a frame that ends it is not published', async t => {
  const subscription = honest.subscribe('behind/**');
  await subscription.opened;
  const stream = open();
  stream.call.cork();
  stream.write(frame(1, 'behind/before')).write(Buffer.alloc(0)).write(frame(2, 'behind/after'));
  stream.call.uncork();
  await stream.ended;
  await honest.publish('behind/end', 'x');
  t.deepEqual(
    (await take(subscription, 2)).map(message => message.channel),
    ['behind/before', 'behind/end'],
  );
});

test.serial('publish stream: 500 random messages each end their stream with a typed error', async t => {
  const expected = ['FRAME_MALFORMED', 'FIELD_INVALID', 'FRAME_TOO_LARGE'];
  for (let round = 0; round < 25; round++) {
    const streams = Array.from({ length: 20 }, (_, i) => open().write(randomBytes(1 + round * 3 + i)));
    for (const stream of streams) {
      stream.call.end();
      const error = await stream.ended;
      if (error) t.true(expected.includes(error.reason), error.message);
    }
  }
  await stillServes(t);
});

test.serial('publish stream: a client that ignores the end and sends 300,000 empty frames costs no memory', async t => {
  const before = await heldBytes();
  const stream = open();
  let over = false;
  void stream.ended.then(() => {
    over = true;
  });
  let written = 0;
  while (written < 300_000 && !over) {
    written++;
    if (!stream.call.write(Buffer.alloc(0)))
      await Promise.race([new Promise(resolve => stream.call.once('drain', resolve)), stream.ended]);
  }
  t.is((await stream.ended)?.reason, 'FIELD_INVALID');
  // The client half of grpc-js stops by itself; new streams in a row stand for one that does not.
  for (let i = 0; i < 2_000; i += 50) {
    await Promise.all(Array.from({ length: 50 }, () => open().write(Buffer.alloc(0)).write(Buffer.alloc(0)).ended));
  }
  const grown = ((await heldBytes()) - before) / 1e6;
  t.log(`${written} frames on the first stream; ${grown.toFixed(1)} MB more`);
  t.true(grown < 30);
  await stillServes(t);
});

test.serial('publish stream: a compressed message that is large inside is refused', async t => {
  const { address, identity } = await loadContext(await acme.context('honest'));
  if (!identity) return t.fail('the context has no certificate');
  const message = gzipSync(Buffer.alloc(200_000_000));
  const before = process.memoryUsage().rss;
  const { path } = MessagingServiceService.publish;
  const ended = await sendCompressed({ address, identity, path, message });
  t.is(ended.status, status.RESOURCE_EXHAUSTED);
  t.regex(ended.text, /decompresses to a size larger/);
  t.true(process.memoryUsage().rss - before < 150e6);
  await stillServes(t);
});

const BAD_ADDRESSES: readonly string[] = [
  '..',
  'a/../b',
  'a//b',
  '/a',
  'a/',
  '/',
  'a\u0000b',
  'a b',
  'x'.repeat(10_000),
  'x'.repeat(65),
  `${'a/'.repeat(17)}a`,
  '\u043erders/a',
  'orders/\u0430',
  '__proto__',
  '-a',
  '.a',
  '*',
  'a/*',
  '**',
  '@',
  '@N',
  '@*',
  '@n/x',
  'x/@n',
  'pubsub://ACME/@*',
  'pubsub://*/',
  'pubsub://*/*',
  'pubsub://@/x',
  'pubsub://@Group/x',
  'pubsub://@*/x',
  'pubsub://',
  'pubsub:///x',
  'pubsub://acme/x',
  'pubsub://ACME',
  'pubsub://ACME/',
  'pubsub://A/x',
  'pubsub://ACME//x',
  'pubsub://ACME/*',
  'pubsub://ACME:1/x',
  'PUBSUB://ACME/x',
  'http://ACME/x',
  'pubsub://ACME/x?y',
  'pubsub://__proto__/x',
  '\ud800',
  '\ufeffa',
];
test.serial(
  'publish: an address outside the grammar is INVALID_ARGUMENT naming address, on the stream and alone',
  async t => {
    const stream = open();
    let id = 0;
    for (const address of BAD_ADDRESSES) {
      stream.write(frame(++id, address));
      const outcome = await answerTo(stream, id);
      if (outcome.$case !== 'error') return t.fail(`${JSON.stringify(address)} was taken`);
      const error = fromRpcStatus(outcome.value);
      t.is(error.status, 'INVALID_ARGUMENT', JSON.stringify(address));
      t.deepEqual(
        error.fields.map(each => each.field),
        ['address'],
        JSON.stringify(address),
      );
      t.true(error.message.length < 400);
      const request = PublishRequest.encode({
        ...PublishRequest.fromPartial({}),
        address,
        patienceMs: 0,
        records: RECORDS,
      }).finish();
      const alone = await ask(node.channel, MessagingServiceService.publish.path, request);
      t.is((alone as FedgateError).reason, 'FIELD_INVALID', JSON.stringify(address));
    }
  },
);

const OTHER_ADDRESSES: readonly (readonly [string, Reason])[] = [
  ['$x', 'CHANNEL_RESERVED'],
  ['pubsub://ACME/$sys/a', 'CHANNEL_RESERVED'],
  ['pubsub://*/$x', 'CHANNEL_RESERVED'],
  ['pubsub://@group/x', 'GROUP_UNKNOWN'],
  ['pubsub://ACME/@node', 'NOT_GRANTED'],
  ['pubsub://NOBODY/x', 'ORG_UNKNOWN'],
  ['pubsub://REGISTRY/x', 'ORG_UNKNOWN'],
];
test.serial(
  'publish: a reserved channel, an unknown organisation, an unknown group and an inbox have their own reasons',
  async t => {
    for (const [address, reason] of OTHER_ADDRESSES) {
      const request = PublishRequest.encode({
        ...PublishRequest.fromPartial({}),
        address,
        patienceMs: 0,
        records: RECORDS,
      }).finish();
      t.is(
        ((await ask(node.channel, MessagingServiceService.publish.path, request)) as FedgateError).reason,
        reason,
        address,
      );
    }
    await acme.logged(event => event.security === true && event.err?.reason === 'CHANNEL_RESERVED');
  },
);

test.serial('publish: `constructor` and its like are channels as any other', async t => {
  for (const channel of ['constructor', 'toString', 'hasOwnProperty', 'valueOf/constructor'])
    t.like(await node.publish(channel, 'x'), { subscribers: 0, dropped: 0 });
});

test.serial('publish: patience over a minute is refused, and one that is no 32-bit number too', async t => {
  const stream = open()
    .write(frame(1, 'orders/a', 60_001))
    .write(frame(2, 'orders/a', 0xffffffff));
  for (const id of [1, 2]) {
    const outcome = await answerTo(stream, id);
    t.deepEqual(outcome.$case === 'error' && fromRpcStatus(outcome.value).fields[0]?.field, 'patience_ms');
  }
});

test.serial('publish: the error of one frame does not end the stream', async t => {
  const stream = open().write(frame(1, '..')).write(frame(2, 'pubsub://NOBODY/x')).write(frame(3));
  t.is((await answerTo(stream, 1)).$case, 'error');
  t.is((await answerTo(stream, 2)).$case, 'error');
  t.is((await answerTo(stream, 3)).$case, 'result');
  stream.call.end();
  t.is(await stream.ended, undefined);
});

const subscribe = (pattern: string | Uint8Array): Promise<FedgateError | undefined> =>
  new Promise(resolve => {
    const request = typeof pattern === 'string' ? SubscribeRequest.encode({ pattern }).finish() : pattern;
    const same = (bytes: Buffer): Buffer => bytes;
    const { path } = MessagingServiceService.subscribe;
    const call = node.channel.makeServerStreamRequest(path, same, same, Buffer.from(request));
    call.on('error', error => resolve(fromGrpc(error)));
    call.on('data', () => {
      call.cancel();
      resolve(undefined);
    });
  });
const { fromGrpcError: fromGrpc } = await import('../../src/transport/status.js');

test.serial('subscribe: a pattern outside the grammar is INVALID_ARGUMENT naming pattern', async t => {
  const bad = [
    '',
    'a/**/b',
    'a*',
    '*a',
    '**/a',
    '***',
    '**/**',
    'a//b',
    '/',
    '..',
    'a/',
    'a\u0000',
    'x'.repeat(600),
    '\u043erders/*',
    '__proto__',
    'pubsub://ACME/orders/a',
  ];
  for (const pattern of bad) {
    const error = await subscribe(pattern);
    t.is(error?.status, 'INVALID_ARGUMENT', JSON.stringify(pattern));
    t.deepEqual(
      error?.fields.map(each => each.field),
      ['pattern'],
      JSON.stringify(pattern),
    );
  }
  t.is((await subscribe('$sys/**'))?.reason, 'CHANNEL_RESERVED');
  t.is((await subscribe(Buffer.from([0x0a, 0x7f])))?.reason, 'FRAME_MALFORMED');
});

test.serial('subscribe: a pattern that leaves what was granted is NOT_GRANTED', async t => {
  for (const pattern of ['orders/**', '**', '*/a', '*', 'orders', 'orders/a/b', 'orders/*/*', 'order/a', 'deeper/x'])
    t.is((await subscribe(pattern))?.reason, 'NOT_GRANTED', pattern);
  for (const pattern of ['orders/*', 'orders/a', 'deep/**', 'deep', 'deep/*', 'deep/a/**'])
    t.is(await subscribe(pattern), undefined, pattern);
});

test.serial('client: a character that no address has is refused before it becomes another address', async t => {
  const subscription = honest.subscribe('orders/*');
  await subscription.opened;
  for (const address of ['orders/\u0430', 'orders/\u2130', 'orders/\u0161'])
    t.is((await t.throwsAsync<FedgateError>(node.publish(address, 'x')))?.reason, 'FIELD_INVALID', address);
  await node.publish('orders/end', 'x');
  t.is((await take(subscription, 1))[0]?.channel, 'orders/end');
});

test.serial('client: a patience or a time that no field can hold is refused, and harms no other publish', async t => {
  const good = node.publish('orders/ok', 'x');
  for (const patienceMs of [-1, 1.5, Number.NaN, 2 ** 40])
    t.is((await t.throwsAsync<FedgateError>(node.publish('orders/a', 'x', { patienceMs })))?.reason, 'FIELD_INVALID');
  for (const timeMs of [-1, 1.5, Number.NaN])
    t.is(
      (await t.throwsAsync<FedgateError>(node.publish('orders/a', { payload: 'x', timeMs })))?.reason,
      'FIELD_INVALID',
    );
  t.is((await good).side, 'local');
});

test.serial('client: a record over the limit by its text, headers or key is refused alone', async t => {
  const good = node.publish('orders/ok', 'x');
  const large = [
    { payload: '\u20ac'.repeat(400_000) },
    { payload: 'x', headers: { big: 'h'.repeat(1_200_000) } },
    { payload: 'x', key: 'k'.repeat(1_200_000) },
  ];
  for (const record of large)
    t.is((await t.throwsAsync<FedgateError>(node.publish('orders/a', record)))?.reason, 'FRAME_TOO_LARGE');
  t.is((await good).side, 'local');
});

test.serial('client: a record of nonsense is an error where it is read, and the next one is whole', async t => {
  const subscription = honest.subscribe('poison/*');
  await subscription.opened;
  const nonsense = Buffer.from([0x7a, 0x03, 0x32, 0x7f, 0x01]);
  const unknownFields = Buffer.from([
    0x7a, 0x12, 0x32, 0x02, 0x68, 0x69, 0x7d, 1, 2, 3, 4, 0x79, 1, 2, 3, 4, 5, 6, 7, 8,
  ]);
  const good = recordBlock('good').bytes;
  const stream = open().write(raw(1, 'poison/a', Buffer.concat([nonsense, unknownFields, good])));
  t.is((await answerTo(stream, 1)).$case, 'result');
  const [first, second, third] = await take(subscription, 3);
  t.is(t.throws<FedgateError>(() => first?.text)?.reason, 'FRAME_MALFORMED');
  t.is(second?.text, 'hi');
  t.is(third?.text, 'good');
});
