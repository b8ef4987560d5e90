import test, { type ExecutionContext } from 'ava';
import {
  AcknowledgeRequest,
  AcknowledgeResponse,
  type ConsumeOpened,
  ConsumeRequest,
  ConsumeResponse,
  MessagingServiceService,
  PublishRequest,
  PublishResponse,
  PullRequest,
  PullResponse,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { FedgateClient } from '../../src/client/index.js';
import type { FedgateError, Reason } from '../../src/errors.js';
import { fromGrpcError } from '../../src/transport/status.js';
import { RawStream } from '../support/attack.js';
import { startFederation, type TestOrg } from '../support/federation.js';

let acme: TestOrg;
let shop: FedgateClient;
let other: FedgateClient;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };
const ACCESS = `nodes:
  - { node: shop, publish: ["**"], subscribe: ["**"] }
  - { node: other, subscribe: ["orders/**"] }`;

test.before(async () => {
  ({ ACME: acme } = await startFederation(scope, { ACME: { access: ACCESS } }));
  shop = await acme.node('shop');
  other = await acme.node('other');
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

type Frame = NonNullable<ConsumeRequest['frame']>;
const encode = (frame: Frame): Buffer => Buffer.from(ConsumeRequest.encode({ frame }).finish());
const SPEC = { name: 'jobs', pattern: '', from: undefined, group: false, ackWaitMs: 0, maxDeliveries: 0 };
const start = (spec: Partial<typeof SPEC>): Frame => ({ $case: 'start', value: { ...SPEC, ...spec } });
const credit = (records: number): Frame => ({ $case: 'credit', value: { records } });
const ranges = (first: bigint, last: bigint) => [{ first, last }];

class Consume extends RawStream {
  constructor(client: FedgateClient) {
    super(client.channel, MessagingServiceService.consume.path);
  }

  say(...frames: readonly Frame[]): this {
    for (const frame of frames) this.write(encode(frame));
    return this;
  }

  event<K extends string>(kind: K) {
    return this.until(bytes => {
      const { notice } = ConsumeResponse.decode(bytes);
      return notice?.event?.$case === kind ? notice.event.value : undefined;
    });
  }

  record(text: string): Promise<ConsumeResponse> {
    return this.until(bytes => {
      const response = ConsumeResponse.decode(bytes);
      return response.records.some(({ payload }) => Buffer.from(payload).toString() === text) ? response : undefined;
    });
  }
}

function unary<Res>(
  client: FedgateClient,
  path: string,
  request: Uint8Array,
  decode: (bytes: Buffer) => Res,
): Promise<Res> {
  return new Promise((resolve, reject) => {
    client.channel.makeUnaryRequest(
      path,
      (bytes: Buffer) => bytes,
      decode,
      Buffer.from(request),
      (error, answer) => {
        if (error) reject(fromGrpcError(error, 'PEER_UNREACHABLE'));
        else resolve(answer as Res);
      },
    );
  });
}

const publish = (channel: string, ...texts: readonly string[]) =>
  unary(
    shop,
    MessagingServiceService.publish.path,
    PublishRequest.encode(
      PublishRequest.fromPartial({
        address: channel,
        delivery: 2,
        records: texts.map(text => ({ payload: Buffer.from(text) })),
      }),
    ).finish(),
    bytes => PublishResponse.decode(bytes),
  );

const endsWith = async (t: ExecutionContext, stream: RawStream, reason: Reason): Promise<void> => {
  t.is((await stream.ended)?.reason, reason);
};

async function pull(
  client: FedgateClient,
  request: Parameters<typeof PullRequest.fromPartial>[0],
): Promise<ConsumeResponse[]> {
  const call = client.channel.makeServerStreamRequest(
    MessagingServiceService.pull.path,
    (bytes: Buffer) => bytes,
    bytes => PullResponse.decode(bytes),
    Buffer.from(PullRequest.encode(PullRequest.fromPartial(request)).finish()),
  );
  const found: ConsumeResponse[] = [];
  return new Promise((resolve, reject) => {
    call.on('data', ({ delivery }: PullResponse) => void (delivery && found.push(delivery)));
    call.on('error', error => reject(fromGrpcError(error as never, 'PEER_UNREACHABLE')));
    call.on('end', () => setImmediate(() => resolve(found)));
  });
}

test('consume: opened first, then records, and settled once acknowledged; half-close ends it', async t => {
  const stream = new Consume(shop).say(start({ name: 'first', pattern: 'orders/first' }), credit(10));
  const opened = await stream.event('opened');
  t.like(opened, { gateway: 'gw1', created: true });
  t.is(ConsumeResponse.decode(stream.received[0] ?? Buffer.alloc(0)).notice?.event?.$case, 'opened');
  await publish('orders/first', 'a', 'b');
  const { offset, senderOrg, senderNode, channel, deliveryCount } = await stream.record('b');
  t.deepEqual([senderOrg, senderNode, channel, deliveryCount], ['ACME', 'shop', 'orders/first', 1]);
  stream.say({ $case: 'ack', value: { ranges: ranges(offset, offset + 1n), ackId: 9n } });
  t.deepEqual(await stream.event('settled'), { ackId: 9n });
  stream.call.end();
  t.is(await stream.ended, undefined);
  const again = new Consume(shop).say(start({ name: 'first' }), credit(10));
  // Other tests store on other channels: what is not for it is passed.
  const reopened = (await again.event('opened')) as ConsumeOpened;
  t.false(reopened.created);
  t.true(reopened.offset >= offset + 2n);
  again.call.cancel();
});

test('consume: frames before `opened` count, and half-close settles them', async t => {
  await publish('orders/early', 'x');
  const stream = new Consume(shop).say(start({ name: 'early', pattern: 'orders/early' }), credit(5), credit(5));
  await stream.event('opened');
  await publish('orders/early', 'a');
  const { offset } = await stream.record('a');
  stream.say({ $case: 'ack', value: { ranges: ranges(offset, offset), ackId: 0n } });
  stream.call.end();
  t.is(await stream.ended, undefined);
  const again = new Consume(shop).say(start({ name: 'early' }));
  t.true(((await again.event('opened')) as ConsumeOpened).offset >= offset + 1n);
  again.call.cancel();
});

test('consume: a cut stream gives its records to the next, with their count', async t => {
  const stream = new Consume(shop).say(start({ name: 'cut', pattern: 'orders/cut' }), credit(5));
  await stream.event('opened');
  await publish('orders/cut', 'a');
  await stream.record('a');
  stream.call.cancel();
  await stream.ended;
  const again = new Consume(shop).say(start({ name: 'cut' }), credit(5));
  t.is((await again.record('a')).deliveryCount, 2);
  again.call.cancel();
});

test('consume: rules of the frames end the stream with a typed error', async t => {
  const rows: readonly (readonly [string, readonly (Frame | Buffer)[], Reason])[] = [
    ['no start', [credit(1)], 'FRAME_UNEXPECTED'],
    ['two starts', [start({ name: 'twice', pattern: 'orders/twice' }), start({ name: 'twice' })], 'FRAME_UNEXPECTED'],
    ['bytes', [Buffer.from([0xff, 0xff])], 'FRAME_MALFORMED'],
    ['nothing', [Buffer.alloc(0)], 'FRAME_MALFORMED'],
    ['a large frame', [Buffer.alloc(600 * 1024)], 'FRAME_TOO_LARGE'],
    ['a bad name', [start({ name: 'No' })], 'FIELD_INVALID'],
    ['a bad pattern', [start({ name: 'bad', pattern: '/' })], 'FIELD_INVALID'],
    ['a long wait', [start({ name: 'bad', pattern: 'a', ackWaitMs: 86_400_001 })], 'FIELD_INVALID'],
    ['many deliveries', [start({ name: 'bad', pattern: 'a', maxDeliveries: 1_001 })], 'FIELD_INVALID'],
    ['unknown', [start({ name: 'nobody' })], 'SUBSCRIPTION_UNKNOWN'],
    ['no credit', [start({ name: 'frames', pattern: 'orders/frames' }), credit(0)], 'FIELD_INVALID'],
    [
      'a range from behind',
      [
        start({ name: 'frames', pattern: 'orders/frames' }),
        { $case: 'ack', value: { ranges: ranges(2n, 1n), ackId: 0n } },
      ],
      'FIELD_INVALID',
    ],
    [
      'too many ranges',
      [
        start({ name: 'frames', pattern: 'orders/frames' }),
        { $case: 'inProgress', value: { ranges: Array.from({ length: 10_001 }, () => ({ first: 1n, last: 1n })) } },
      ],
      'FIELD_INVALID',
    ],
    [
      'a long reason',
      [
        start({ name: 'frames', pattern: 'orders/frames' }),
        {
          $case: 'nack',
          value: { ranges: ranges(1n, 1n), delayMs: 0, reason: 'x'.repeat(501), deadLetter: false, ackId: 0n },
        },
      ],
      'FIELD_INVALID',
    ],
    ['another pattern', [start({ name: 'frames', pattern: 'orders/other' })], 'SUBSCRIPTION_MISMATCH'],
  ];
  for (const [what, frames, reason] of rows) {
    const stream = new Consume(shop);
    for (const frame of frames) stream.write(Buffer.isBuffer(frame) ? frame : encode(frame));
    t.is((await stream.ended)?.reason, reason, what);
  }
  t.truthy((await publish('orders/alive', 'x')).result);
});

test('consume: only what the node may subscribe to, whoever made it', async t => {
  await endsWith(t, new Consume(other).say(start({ name: 'mine', pattern: 'secret' })), 'NOT_GRANTED');
  const made = new Consume(shop).say(start({ name: 'secret', pattern: 'secret' }));
  await made.event('opened');
  await endsWith(t, new Consume(other).say(start({ name: 'secret' })), 'NOT_GRANTED');
  made.call.cancel();
});

test('consume: another node is refused, the same one takes over', async t => {
  const first = new Consume(shop).say(start({ name: 'taken', pattern: 'orders/taken' }));
  await first.event('opened');
  await endsWith(t, new Consume(other).say(start({ name: 'taken' })), 'SUBSCRIPTION_BUSY');
  const second = new Consume(shop).say(start({ name: 'taken' }));
  await second.event('opened');
  await endsWith(t, first, 'SUBSCRIPTION_TAKEN');
  second.call.cancel();
});

test('consume: ten thousand ranges in one frame', async t => {
  const stream = new Consume(shop).say(start({ name: 'ranges', pattern: 'orders/ranges' }), credit(1_000_000));
  await stream.event('opened');
  await publish('orders/ranges', ...Array.from({ length: 20_000 }, (_, i) => `${i}`));
  const { offset } = await stream.record('0');
  const even = Array.from({ length: 10_000 }, (_, i) => ({
    first: offset + BigInt(2 * i),
    last: offset + BigInt(2 * i),
  }));
  stream.say({ $case: 'ack', value: { ranges: even, ackId: 1n } });
  t.deepEqual(await stream.event('settled'), { ackId: 1n });
  stream.call.end();
  await stream.ended;
  const again = new Consume(shop).say(start({ name: 'ranges' }), credit(1));
  t.like(await again.event('opened'), { offset: offset + 1n });
  t.is((await again.record('1')).deliveryCount, 2);
  again.call.cancel();
});

test('pull: what is there, at most so much, and nothing when there is nothing', async t => {
  const subscription = {
    name: 'pulled',
    pattern: 'orders/pulled',
    from: { at: { $case: 'earliest' as const, value: true } },
  };
  t.deepEqual(await pull(shop, { subscription }), []);
  await publish('orders/pulled', 'a', 'b', 'c');
  const [two] = await pull(shop, { subscription: { name: 'pulled' }, maxRecords: 2 });
  t.is(two?.records.length, 2);
  const offset = two?.offset ?? 0n;
  const acknowledged = await unary(
    shop,
    MessagingServiceService.acknowledge.path,
    AcknowledgeRequest.encode(
      AcknowledgeRequest.fromPartial({
        subscription: 'pulled',
        ack: ranges(offset, offset),
        nack: { ranges: ranges(offset + 1n, offset + 1n) },
      }),
    ).finish(),
    bytes => AcknowledgeResponse.decode(bytes),
  );
  t.is(acknowledged.records, 2n);
  const rest = await pull(shop, { subscription: { name: 'pulled' }, maxRecords: 10 });
  t.deepEqual(
    rest.map(({ offset: at, deliveryCount }) => [at, deliveryCount]),
    [
      [offset + 1n, 2],
      [offset + 2n, 1],
    ],
  );
});

test('pull: waits for the first', async t => {
  const subscription = {
    name: 'waited',
    pattern: 'orders/waited',
    from: { at: { $case: 'earliest' as const, value: true } },
  };
  const waiting = pull(shop, { subscription, waitMs: 60_000 });
  await publish('orders/waited', 'a');
  t.is((await waiting).length, 1);
  const refused = async (request: Parameters<typeof PullRequest.fromPartial>[0]): Promise<string | undefined> =>
    ((await t.throwsAsync(pull(shop, request))) as FedgateError).reason;
  t.is(await refused({ subscription, maxRecords: 1_001 }), 'FIELD_INVALID');
  t.is(await refused({ subscription, waitMs: 60_001 }), 'FIELD_INVALID');
  t.is(await refused({}), 'FIELD_INVALID');
});

test('consume: a gateway that stops settles what came, ends the streams, and goes on where it was', async t => {
  const { ACME: org } = await startFederation(t, { ACME: { access: ACCESS } });
  const node = await org.node('shop');
  const stream = new Consume(node).say(start({ name: 'drained', pattern: 'orders/drained' }), credit(10));
  await stream.event('opened');
  const request = PublishRequest.fromPartial({
    address: 'orders/drained',
    delivery: 2,
    records: [{ payload: Buffer.from('a') }, { payload: Buffer.from('b') }],
  });
  await unary(node, MessagingServiceService.publish.path, PublishRequest.encode(request).finish(), bytes => bytes);
  const { offset } = await stream.record('b');
  stream.say({ $case: 'ack', value: { ranges: ranges(offset, offset), ackId: 1n } });
  await stream.event('settled');
  await org.stop();
  await endsWith(t, stream, 'DRAINING');
  await org.start();
  const again = await org.node('shop');
  const next = new Consume(again).say(start({ name: 'drained' }), credit(10));
  t.like(await next.event('opened'), { created: false, offset: offset + 1n });
  const { deliveryCount, records } = await next.record('b');
  t.deepEqual([deliveryCount, records.length], [2, 1]);
  next.call.cancel();
});
