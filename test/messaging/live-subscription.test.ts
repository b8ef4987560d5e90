import test from 'ava';
import fc from 'fast-check';
import { SubscribeResponse } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { parsePattern } from '../../src/messaging/address.js';
import { FrameJoins, type LiveFrame } from '../../src/messaging/live-frame.js';
import { LiveSubscription, type Sink } from '../../src/messaging/live-subscription.js';
import { Patience } from '../../src/messaging/patience.js';

/** A stream whose transport takes a number of frames and then no more, until it is let. */
class Valve {
  open = 0;
  readonly out: string[] = [];
  #taken: () => void = () => undefined;

  get onTheWay(): number {
    return this.open > 0 ? 0 : 4;
  }

  put(frame: Buffer): void {
    this.open--;
    const text = frame.toString('latin1');
    this.out.push(/^\d+\.*$/.test(text) ? String(Number.parseInt(text, 10)) : `-${dropped(frame)}`);
  }

  onTaken(listener: () => void): void {
    this.#taken = listener;
  }

  let(frames: number): void {
    this.open = frames;
    this.#taken();
  }
}

const dropped = (frame: Buffer): bigint => {
  const event = SubscribeResponse.decode(frame).notice?.event;
  return event?.$case === 'dropped' ? event.value.records : -1n;
};
/** A frame of 100 bytes with a number in it, for so many records; it is joined with nothing. */
const frame = (id: number, records = 1): LiveFrame => ({
  bytes: Buffer.from(String(id).padEnd(100, '.')),
  header: 0,
  records,
});
const subscribe = (sink: Sink, queueBytes = 300, joins = new FrameJoins()) =>
  new LiveSubscription({ node: 'n', pattern: parsePattern('a'), sink, limits: { queueBytes }, joins, nowMs: 0 });
/** With so many milliseconds of patience. */
function offer(subscription: LiveSubscription, what: LiveFrame, ms: number): boolean | Promise<boolean> {
  const patience = new Patience(ms);
  return subscription.offer(what, patience) ?? patience.settled().then(() => patience.taken === 1);
}

test('subscription: what the stream takes is not queued, what it does not take is, up to the limit', t => {
  const valve = new Valve();
  valve.open = 2;
  const subscription = subscribe(valve);
  t.deepEqual(
    [1, 2, 3, 4, 5, 6, 7].map(id => subscription.offer(frame(id))),
    [true, true, true, true, true, false, false],
  );
  t.deepEqual(valve.out, ['1', '2']);
  t.is(subscription.queuedBytes, 300);
  t.is(subscription.dropped, 2);
  t.is(subscription.delivered, 5);
});

test('subscription: the notice of drops stands where the records are missing', t => {
  const valve = new Valve();
  const subscription = subscribe(valve);
  for (const id of [1, 2, 3, 4, 5]) void subscription.offer(frame(id, 10));
  valve.let(1);
  void subscription.offer(frame(6));
  valve.let(10);
  t.deepEqual(valve.out, ['1', '2', '3', '-20', '6']);
  void subscription.offer(frame(7));
  t.deepEqual(valve.out.slice(-1), ['7'], 'told once');
});

test('subscription: drops at the end are told when the queue is empty, without another record', t => {
  const valve = new Valve();
  const subscription = subscribe(valve);
  for (const id of [1, 2, 3, 4]) void subscription.offer(frame(id));
  valve.let(10);
  t.deepEqual(valve.out, ['1', '2', '3', '-1']);
});

test('subscription: patience holds a frame until there is room, in order', async t => {
  const valve = new Valve();
  const subscription = subscribe(valve);
  for (const id of [1, 2, 3]) void subscription.offer(frame(id));
  const held = [4, 5].map(id => offer(subscription, frame(id), 60_000));
  t.is(subscription.queuedBytes, 500);
  valve.let(10);
  t.deepEqual(await Promise.all(held), [true, true]);
  t.deepEqual(valve.out, ['1', '2', '3', '4', '5']);
  t.is(subscription.dropped, 0);
});

test('subscription: patience that ran out is spent once, until half of the queue is empty', async t => {
  const valve = new Valve();
  const subscription = subscribe(valve);
  for (const id of [1, 2, 3]) void subscription.offer(frame(id));
  t.false(await offer(subscription, frame(4), 5));
  t.false(offer(subscription, frame(5), 60_000), 'at once: it is lagging');
  valve.let(2);
  void subscription.offer(frame(6));
  const held = [7, 8].map(id => offer(subscription, frame(id), 60_000));
  t.true(
    held.some(each => each instanceof Promise),
    'patience counts again',
  );
  valve.let(20);
  await Promise.all(held);
  t.deepEqual(valve.out, ['1', '2', '3', '-2', '6', '7', '8']);
});

test('subscription: closing it settles those who wait and drops what they held', async t => {
  const subscription = subscribe(new Valve());
  for (const id of [1, 2, 3]) void subscription.offer(frame(id));
  const held = offer(subscription, frame(4), 60_000);
  subscription.close();
  t.false(await held);
  t.false(offer(subscription, frame(5), 60_000));
  t.is(subscription.queuedBytes, 0);
});

test('subscription: taken and told drops are all that was offered, in order, whatever the stream does', async t => {
  const step = fc.oneof(
    fc.record({ offer: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ room: fc.integer({ min: 1, max: 4 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
      const valve = new Valve();
      const subscription = subscribe(valve);
      let offered = 0;
      for (const each of steps) {
        if ('offer' in each) for (let i = 0; i < each.offer; i++) subscription.offer(frame(++offered));
        else valve.let(each.room);
      }
      for (let i = 0; i < 5; i++) valve.let(100);
      let expected = 0;
      for (const text of valve.out) {
        if (text.startsWith('-')) expected += Number(text.slice(1));
        else if (Number(text) !== ++expected) return false;
      }
      return expected === offered && subscription.delivered + subscription.dropped === offered;
    }),
  );
  t.pass();
});
