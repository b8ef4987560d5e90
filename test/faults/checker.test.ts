import test from 'ava';
import { check, type Invariant, type Rules } from './support/checker.js';
import type { DeliveredEvent, Level, RecordedEvent } from './support/events.js';
import { messageId, readPayload, writePayload } from './support/payload.js';
import { seededRandom } from './support/random.js';

/** Recordings written by hand, step by step; each step is one millisecond after the one before unless it says when. */
class Story {
  readonly events: RecordedEvent[] = [];
  #nowMs = 0;

  at(ms: number): this {
    this.#nowMs = ms;
    return this;
  }

  add(event: Record<string, unknown> & { kind: RecordedEvent['kind'] }): this {
    this.events.push({ atMs: ++this.#nowMs, ...event } as RecordedEvent);
    return this;
  }

  publish(n: number, { level = 'received' as Level, idempotent = true, channel = 'orders/new' } = {}): this {
    const identity = { org: 'ACME', publisher: 'pub', to: 'GLOBEX', channel, n };
    return this.add({ kind: 'publish', id: id(n, channel), ...identity, level, idempotent });
  }

  acked(n: number, level: Level = 'received', channel = 'orders/new'): this {
    return this.add({ kind: 'acked', id: id(n, channel), level, duplicate: false });
  }

  refused(n: number): this {
    return this.add({ kind: 'refused', id: id(n), reason: 'OUTBOX_FULL' });
  }

  unknown(n: number): this {
    return this.add({ kind: 'unknown', id: id(n), reason: 'OUTCOME_UNKNOWN' });
  }

  delivered(n: number, change: Partial<DeliveredEvent> = {}): this {
    return this.add({
      kind: 'delivered',
      consumer: 'con',
      subscription: 'work',
      offset: n,
      id: id(n, change.channel),
      intact: true,
      senderOrg: 'ACME',
      senderNode: 'pub',
      channel: 'orders/new',
      key: '',
      deliveryCount: 1,
      ...change,
    });
  }

  ack(kind: 'ackSent' | 'ackSettled' | 'ackUnknown', n: number, consumer = 'con'): this {
    return this.add({ kind, consumer, subscription: 'work', offset: n, id: id(n) });
  }

  settled(n: number, consumer = 'con'): this {
    return this.ack('ackSent', n, consumer).ack('ackSettled', n, consumer);
  }

  missing(records: number, channel = 'orders/new', senderOrg = 'ACME'): this {
    return this.add({
      kind: 'missing',
      consumer: 'con',
      subscription: 'work',
      what: 'gap',
      channel,
      senderOrg,
      records,
    });
  }

  /** A message that goes the whole way. */
  whole(n: number): this {
    return this.publish(n).acked(n).delivered(n).settled(n);
  }
}

const id = (n: number, channel = 'orders/new'): string =>
  messageId({ org: 'ACME', publisher: 'pub', to: 'GLOBEX', channel, n });
const RULES: Rules = { subscriptions: [{ name: 'work', org: 'GLOBEX', channels: ['orders/new'] }] };
const GROUP: Rules = { subscriptions: [{ name: 'work', org: 'GLOBEX', channels: ['orders/new'], group: true }] };

/** Expects exactly these violations. */
const finds = test.macro({
  exec(t, story: Story, expected: readonly Invariant[], rules: Rules = RULES) {
    const found = check(story.events, rules);
    t.deepEqual(
      found.map(({ invariant }) => invariant),
      [...expected],
      found.map(({ what }) => what).join('\n'),
    );
  },
  title: (name = '') => `checker: ${name}`,
});

const story = (): Story => new Story();

test('a message that goes the whole way is fine', finds, story().whole(1).whole(2), []);
test('nothing at all is fine', finds, story(), []);

// I1
test('I1: acknowledged and never delivered', finds, story().whole(1).publish(2).acked(2), ['I1']);
test('I1: acknowledged as stored and never delivered', finds, story().publish(1).acked(1, 'stored'), ['I1']);
test('I1: delivered to one of two subscriptions', finds, story().whole(1), ['I1'], {
  subscriptions: [...RULES.subscriptions, { name: 'audit', org: 'GLOBEX', channels: ['orders/new'] }],
});
test(
  'I1: what no subscription covers need not be delivered',
  finds,
  story().publish(1, { channel: 'other' }).acked(1, 'received', 'other'),
  [],
);
test('I1: an answer that never came promises nothing', finds, story().publish(1).unknown(1).whole(2), []);
test(
  'I1: an answer that never came may be a delivery',
  finds,
  story().publish(1).unknown(1).delivered(1).settled(1),
  [],
);
test('I1: delivered before the publisher was answered', finds, story().publish(1).delivered(1).settled(1).acked(1), []);
test(
  'I1: unknown, then acknowledged on repeating, and lost',
  finds,
  story().publish(1).unknown(1).publish(1).acked(1),
  ['I1'],
);
test('I1: refused and delivered all the same', finds, story().publish(1).refused(1).delivered(1), ['I1']);
test(
  'I1: refused once, then unknown: may be delivered',
  finds,
  story().publish(1).refused(1).publish(1).unknown(1).delivered(1),
  [],
);
test(
  'I1: consumed means that a consumer acknowledged before',
  finds,
  story().publish(1).delivered(1).acked(1, 'consumed').settled(1),
  ['I1'],
);
test(
  'I1: consumed after the acknowledgement',
  finds,
  story().publish(1).delivered(1).settled(1).acked(1, 'consumed'),
  [],
);
test(
  'I1: a loss that is reported counts as lost unless the store was destroyed',
  finds,
  story().publish(1).acked(1).missing(1),
  ['I1'],
);
test('I1: a loss that is reported', finds, story().publish(1).acked(1).missing(1), [], {
  ...RULES,
  reportedLoss: true,
});
test('I1: more is lost than was reported', finds, story().publish(1).acked(1).publish(2).acked(2).missing(1), ['I1'], {
  ...RULES,
  reportedLoss: true,
});
test('I1: a gap of unknown size', finds, story().publish(1).acked(1).publish(2).acked(2).missing(0), [], {
  ...RULES,
  reportedLoss: true,
});
test(
  'I1: a gap of another sender explains nothing',
  finds,
  story().publish(1).acked(1).missing(1, 'orders/new', 'INITECH'),
  ['I1'],
  { ...RULES, reportedLoss: true },
);
test(
  'I1: a gap of another channel explains nothing',
  finds,
  story().publish(1).acked(1).missing(1, 'invoices'),
  ['I1'],
  { ...RULES, reportedLoss: true },
);
test('I1: a gap of an unknown channel may explain it', finds, story().publish(1).acked(1).missing(1, '', ''), [], {
  ...RULES,
  reportedLoss: true,
});

// I2
test(
  'I2: delivered again after the acknowledgement was settled, marked or not',
  finds,
  story().whole(1).delivered(1, { deliveryCount: 2 }),
  ['I2'],
);
test(
  'I2: settled by one member of the group, delivered to another',
  finds,
  story().whole(1).delivered(1, { consumer: 'con2', deliveryCount: 2 }),
  ['I2'],
  GROUP,
);
test('I2: unmarked after settling breaks two rules', finds, story().whole(1).delivered(1), ['I2', 'I2']);
test(
  'I2: delivered again unacknowledged, and marked',
  finds,
  story().publish(1).acked(1).delivered(1).delivered(1, { deliveryCount: 2 }).settled(1),
  [],
);
test(
  'I2: delivered again unacknowledged, and not marked',
  finds,
  story().publish(1).acked(1).delivered(1).delivered(1).settled(1),
  ['I2'],
);
const KILLED = (ms: number): Story =>
  story()
    .publish(1)
    .acked(1)
    .at(100)
    .delivered(1)
    .at(ms)
    .add({ kind: 'fault', what: 'kill', died: 'GLOBEX' })
    .delivered(1);
test('I2: unmarked because the gateway died before it could store the mark', finds, KILLED(150), [], {
  ...RULES,
  unmarkedMs: 100,
});
test('I2: unmarked although the gateway lived long enough to store the mark', finds, KILLED(250), ['I2'], {
  ...RULES,
  unmarkedMs: 100,
});
test(
  'I2: an acknowledgement whose settling is unknown allows redelivery',
  finds,
  story()
    .publish(1)
    .acked(1)
    .delivered(1)
    .ack('ackSent', 1)
    .ack('ackUnknown', 1)
    .delivered(1, { deliveryCount: 2 })
    .settled(1),
  [],
);
test(
  'I2: a first delivery that is marked was handed to somebody who died',
  finds,
  story().publish(1).acked(1).delivered(1, { deliveryCount: 2 }).settled(1),
  [],
);
test(
  'I2: the same offset of another subscription is another matter',
  finds,
  story().whole(1).delivered(1, { subscription: 'audit' }),
  [],
);
test('I2: one message at two places', finds, story().whole(1).delivered(1, { offset: 9 }), ['I2']);
test(
  'I2: one message at two places, published twice without a way to know it again',
  finds,
  story()
    .publish(1, { idempotent: false })
    .unknown(1)
    .publish(1, { idempotent: false })
    .acked(1)
    .delivered(1)
    .delivered(1, { offset: 9 }),
  [],
);
test(
  'I2: one message at two places, the first attempt refused',
  finds,
  story()
    .publish(1, { idempotent: false })
    .refused(1)
    .publish(1, { idempotent: false })
    .acked(1)
    .delivered(1)
    .delivered(1, { offset: 9 }),
  ['I2'],
);
test(
  'I2: a repeated publish that was recognised',
  finds,
  story().publish(1).unknown(1).publish(1).acked(1).delivered(1).settled(1),
  [],
);
test(
  'I2: a repeated publish that was not recognised',
  finds,
  story().publish(1).unknown(1).publish(1).acked(1).delivered(1).delivered(1, { offset: 2 }),
  ['I2'],
);

// I3
test(
  'I3: the second before the first',
  finds,
  story().publish(1).publish(2).acked(1).acked(2).delivered(2).delivered(1),
  ['I3'],
);
test(
  'I3: a repeated delivery may come later',
  finds,
  story().publish(1).publish(2).acked(1).acked(2).delivered(1).delivered(2).delivered(1, { deliveryCount: 2 }),
  [],
);
test(
  'I3: there is no order between channels',
  finds,
  story()
    .publish(1, { channel: 'a' })
    .publish(2, { channel: 'b' })
    .delivered(2, { channel: 'b' })
    .delivered(1, { channel: 'a' }),
  [],
);
test(
  'I3: in a group other keys may overtake',
  finds,
  story().publish(1).publish(2).delivered(2, { key: 'b' }).delivered(1, { key: 'a', consumer: 'con2' }),
  [],
  GROUP,
);
test(
  'I3: in a group what has no key has no order',
  finds,
  story().publish(1).publish(2).delivered(2).delivered(1, { consumer: 'con2' }),
  [],
  GROUP,
);
test(
  'I3: in a group the same key may not',
  finds,
  story().publish(1).publish(2).delivered(2, { key: 'a' }).delivered(1, { key: 'a', consumer: 'con2' }),
  ['I3'],
  GROUP,
);
test(
  'I3: the clocks of the recorders decide, not the order of the lines',
  finds,
  story().publish(1).publish(2).at(50).delivered(2).at(40).delivered(1),
  [],
);

// I4
test('I4: nobody published it', finds, story().delivered(1), ['I4']);
test(
  'I4: it is said to come from another organisation',
  finds,
  story().publish(1).delivered(1, { senderOrg: 'INITECH' }),
  ['I4'],
);
test('I4: it is said to come from another node', finds, story().publish(1).delivered(1, { senderNode: 'mallory' }), [
  'I4',
]);
test(
  'I4: it comes on another channel',
  finds,
  story()
    .publish(1)
    .add({ ...story().delivered(1).events[0], kind: 'delivered', channel: 'invoices' }),
  ['I4'],
);
test('I4: its payload was changed', finds, story().publish(1).delivered(1, { id: '', intact: false }), ['I4']);

// I5
const resources = (peakResidentBytes: number, diskBytes: number): Story =>
  story().add({ kind: 'resources', process: 'ACME', peakResidentBytes, diskBytes });
test('I5: within the caps', finds, resources(100, 100), [], { ...RULES, maxResidentBytes: 100, maxDiskBytes: 100 });
test('I5: too much memory', finds, resources(101, 100), ['I5'], { ...RULES, maxResidentBytes: 100, maxDiskBytes: 100 });
test('I5: too much disk', finds, resources(100, 101), ['I5'], { ...RULES, maxResidentBytes: 100, maxDiskBytes: 100 });

// I6
const PROGRESS: Rules = { ...RULES, progressMs: 1_000 };
const healed = (): Story => story().whole(1).publish(2).at(100).add({ kind: 'healed', what: 'link' });
test('I6: delivered within the bound', finds, healed().at(900).delivered(2).at(5_000).acked(2), [], PROGRESS);
test('I6: delivered too late', finds, healed().at(1_200).delivered(2).acked(2), ['I6'], PROGRESS);
test('I6: never delivered', finds, healed().at(5_000).unknown(2), ['I6'], PROGRESS);
test(
  'I6: nothing was to be delivered',
  finds,
  story().whole(1).at(100).add({ kind: 'healed', what: 'link' }).at(5_000).whole(2),
  [],
  PROGRESS,
);
test('I6: what was refused does not wait', finds, healed().refused(2).at(5_000).whole(3), [], PROGRESS);
test(
  'I6: another fault within the bound voids it',
  finds,
  healed().at(500).add({ kind: 'fault', what: 'kill' }).at(3_000).delivered(2),
  [],
  PROGRESS,
);
test('I6: the recording ends before the bound', finds, healed().at(500).unknown(2), [], PROGRESS);
test(
  'I6: a redelivery is no progress',
  finds,
  healed().at(500).delivered(1, { deliveryCount: 2 }).at(5_000).unknown(2),
  ['I2', 'I6'],
  PROGRESS,
);

test('payload: says what it is, and does not when a bit of it changed', t => {
  const identity = { org: 'ACME', publisher: 'pub', to: 'GLOBEX', channel: 'orders/new', n: 7 };
  const text = writePayload(identity, 40);
  t.deepEqual(readPayload(text), { id: 'ACME/pub>GLOBEX/orders/new#7', intact: true });
  for (let i = 0; i < text.length; i++) {
    const changed = text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ 1) + text.slice(i + 1);
    t.deepEqual(readPayload(changed), { id: '', intact: false });
  }
});

test('random: a seed repeats its choices, and another seed does not', t => {
  const draw = (seed: number): number[] => {
    const random = seededRandom(seed);
    return Array.from({ length: 20 }, () => random.between(0, 1_000_000));
  };
  t.deepEqual(draw(7), draw(7));
  t.notDeepEqual(draw(7), draw(8));
});
