import test from 'ava';
import fc from 'fast-check';
import { SubscribeResponse } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { OrgName } from '../../src/identity/names.js';
import { parsePattern } from '../../src/messaging/address.js';
import { FrameJoins, JOINED_BYTES } from '../../src/messaging/live-frame.js';
import { LiveSubscription } from '../../src/messaging/live-subscription.js';
import { type Delivery, Router } from '../../src/messaging/router.js';
import { blockOf } from '../../src/wire/records.js';

/** A stream whose transport takes frames only when it is let. */
class Stream {
  readonly frames: Buffer[] = [];
  onTheWay = 0;
  #taken: () => void = () => undefined;

  put(frame: Buffer): void {
    this.frames.push(frame);
    this.onTheWay++;
  }

  onTaken(listener: () => void): void {
    this.#taken = listener;
  }

  /** Takes the oldest frame. */
  take(): void {
    if (this.onTheWay === 0) return;
    this.onTheWay--;
    this.#taken();
  }

  get decoded(): SubscribeResponse[] {
    return this.frames.map(bytes => SubscribeResponse.decode(bytes));
  }
}

function open(router: Router, joins = new FrameJoins(), pattern = '**', queueBytes = 1_000_000) {
  const sink = new Stream();
  const options = { node: 'n', pattern: parsePattern(pattern), sink, limits: { queueBytes }, joins, nowMs: 0 };
  const subscription = new LiveSubscription(options);
  router.add(subscription);
  return { sink, subscription };
}

const delivery = (channel: string, ids: readonly number[], senderNode = 'pub', payloadBytes = 1): Delivery => ({
  channel,
  senderOrg: 'ACME' as OrgName,
  senderNode,
  records: blockOf(
    Buffer.from(
      SubscribeResponse.encode(
        SubscribeResponse.fromPartial({
          records: ids.map(id => ({ id: String(id), payload: Buffer.alloc(payloadBytes) })),
        }),
      ).finish(),
    ),
  ),
  patienceMs: 0,
});

const idsOf = ({ records }: SubscribeResponse): number[] => records.map(({ id }) => Number(id));

test('fan-out: a batch is encoded once, and every subscription is given the very same bytes', t => {
  const router = new Router();
  const sinks = Array.from({ length: 1_000 }, () => open(router).sink);
  t.deepEqual(router.deliver(delivery('orders/a', [1, 2, 3])), { subscribers: 1_000, dropped: 0 });
  const [first] = sinks[0]?.frames ?? [];
  t.truthy(first);
  t.true(sinks.every(({ frames }) => frames.length === 1 && frames[0] === first));
  t.like(SubscribeResponse.decode(first as Buffer), { channel: 'orders/a', senderOrg: 'ACME', senderNode: 'pub' });
  t.deepEqual(idsOf(SubscribeResponse.decode(first as Buffer)), [1, 2, 3]);
});

test('fan-out: what comes while a frame is on its way goes as one frame, made once for all who are behind', t => {
  const router = new Router();
  const joins = new FrameJoins();
  const sinks = [1, 2, 3].map(() => open(router, joins).sink);
  for (const id of [1, 2, 3, 4]) void router.deliver(delivery('orders/a', [id]));
  for (const sink of sinks) sink.take();
  t.deepEqual(sinks[0]?.decoded.map(idsOf), [[1], [2, 3, 4]]);
  t.true(sinks.every(({ frames }) => frames.length === 2 && frames[1] === sinks[0]?.frames[1]));
});

test('fan-out: only records of one channel and one sender are joined, in their order, up to a size', t => {
  const router = new Router();
  const { sink } = open(router);
  const half = JOINED_BYTES / 2;
  for (const each of [
    delivery('a', [1]),
    delivery('b', [2]),
    delivery('b', [3]),
    delivery('b', [4], 'other'),
    delivery('b', [5], 'other', half),
    delivery('b', [6], 'other', half),
    delivery('b', [7], 'other', half),
  ])
    void router.deliver(each);
  while (sink.onTheWay > 0) sink.take();
  t.deepEqual(
    sink.decoded.map(each => [each.channel, each.senderNode, idsOf(each)]),
    [
      ['a', 'pub', [1]],
      ['b', 'pub', [2, 3]],
      ['b', 'other', [4, 5]],
      ['b', 'other', [6]],
      ['b', 'other', [7]],
    ],
  );
  t.true(sink.frames.every(({ length }) => length <= JOINED_BYTES));
});

test('fan-out: a large frame does not wait for the one before it, and only so many are on their way', t => {
  const router = new Router();
  const { sink } = open(router);
  for (let id = 1; id <= 10; id++) void router.deliver(delivery('a', [id], 'pub', JOINED_BYTES));
  t.is(sink.frames.length, 4);
  while (sink.onTheWay > 0) sink.take();
  t.deepEqual(sink.decoded.flatMap(idsOf), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('fan-out: whatever streams take and whenever, each subscription sees all it wants once, in order, or is told', t => {
  const step = fc.oneof(
    fc.record({
      channel: fc.constantFrom('a', 'b'),
      sender: fc.constantFrom('x', 'y'),
      size: fc.constantFrom(1, 300, 20_000),
    }),
    fc.record({ take: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), steps => {
      const router = new Router();
      const joins = new FrameJoins();
      const all = ['**', '**', 'a', 'b'].map(pattern => ({ pattern, ...open(router, joins, pattern, 30_000) }));
      const published: { readonly channel: string; readonly sender: string; readonly id: number }[] = [];
      for (const each of steps) {
        if ('take' in each) all[each.take]?.sink.take();
        else {
          const id = published.push({ channel: each.channel, sender: each.sender, id: published.length });
          void router.deliver(delivery(each.channel, [id - 1], each.sender, each.size));
        }
      }
      return all.every(({ pattern, sink, subscription }) => {
        while (sink.onTheWay > 0) sink.take();
        const wanted = published.filter(({ channel }) => pattern === '**' || pattern === channel);
        const seen = seenBy(sink.decoded);
        return (
          seen.every((each, i) => each === 'lost' || samePublish(each, wanted[i])) &&
          seen.length === wanted.length &&
          subscription.delivered + subscription.dropped === wanted.length &&
          subscription.queuedBytes === 0
        );
      });
    }),
  );
  t.pass();
});

interface Seen {
  readonly channel: string;
  readonly sender: string;
  readonly id: number;
}

/** One for each record, lost ones included, in the order in which a subscriber hears of them. */
const seenBy = (frames: readonly SubscribeResponse[]): (Seen | 'lost')[] =>
  frames.flatMap((frame): (Seen | 'lost')[] => {
    const event = frame.notice?.event;
    if (event?.$case === 'dropped') return Array.from({ length: Number(event.value.records) }, () => 'lost');
    return idsOf(frame).map(id => ({ channel: frame.channel, sender: frame.senderNode, id }));
  });

const samePublish = (one: Seen, other: Seen | undefined): boolean =>
  one.id === other?.id && one.channel === other.channel && one.sender === other.sender;
