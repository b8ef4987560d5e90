import test from 'ava';
import fc from 'fast-check';
import { Cursor } from '../../../src/durable/subscriptions/cursor.js';
import { Held } from '../../../src/durable/subscriptions/held.js';
import { KeyOwners } from '../../../src/durable/subscriptions/key-owners.js';
import type { Segment, Taker } from '../../../src/durable/subscriptions/ledger.js';
import { beginningAt } from '../../../src/durable/subscriptions/position.js';
import { normalised } from '../../../src/durable/subscriptions/ranges.js';
import { decodeRow, encodeRow } from '../../../src/durable/subscriptions/row.js';
import type { LogEntry } from '../../../src/durable/types.js';
import { parsePattern } from '../../../src/messaging/address.js';
import { RecordEncoder } from '../../../src/wire/record-codec.js';
import type { RecordBlock } from '../../../src/wire/records.js';

/** A log of records, each with a key or none; an entry of which the pattern does not speak has `foreign` set. */
interface Draft {
  readonly keys: readonly number[];
  readonly foreign: boolean;
}

function block(keys: readonly number[]): RecordBlock {
  const encoder = new RecordEncoder(1024, 0);
  for (const key of keys) encoder.add({ payload: 'x', ...(key > 0 ? { key: `k${key}` } : {}) }, 1);
  const { bytes, start, end } = encoder.finish();
  return { bytes: bytes.subarray(start, end), count: keys.length };
}

const entryAt = (offset: number, count: number): LogEntry => ({
  offset,
  count,
  channel: 'a',
  senderOrg: 'ACME' as LogEntry['senderOrg'],
  senderNode: 'n',
  storedMs: 1,
  expireMs: 0,
  bytes: 1,
  gap: undefined,
  stream: undefined,
  notifyConsumed: false,
});

/** The naive model: one object per record. */
interface Model {
  readonly offset: number;
  readonly key: number;
  state: 'waiting' | 'out' | 'delayed' | 'settled' | 'dead';
  consumer: number;
  dueMs: number;
  count: number;
}

const ACK_WAIT_MS = 100;
const MAX_DELIVERIES = 4;
const CONSUMERS = 3;

class World {
  readonly records: Model[] = [];
  readonly drafts: { readonly entry: LogEntry; readonly draft: Draft }[] = [];
  readonly keyed: boolean;
  cursor: Cursor;
  nowMs = 0;
  #row: Buffer = Buffer.alloc(0);
  #committed: Model[] = [];
  #floor = 0;

  constructor(drafts: readonly Draft[], keyed: boolean) {
    this.keyed = keyed;
    let offset = 5;
    for (const draft of drafts) {
      this.drafts.push({ entry: entryAt(offset, draft.keys.length), draft });
      if (!draft.foreign) {
        for (const [i, key] of draft.keys.entries())
          this.records.push({
            offset: offset + i,
            key: keyed ? key : 0,
            state: 'waiting',
            consumer: 0,
            dueMs: 0,
            count: 0,
          });
      }
      offset += draft.keys.length;
    }
    this.cursor = new Cursor(beginningAt(5), this.#options());
    this.commit();
  }

  #options() {
    return { owners: new KeyOwners(), maxDeliveries: MAX_DELIVERIES };
  }

  at(offset: number): Model {
    return this.records.find(record => record.offset === offset) as Model;
  }

  /** Brings the next entry, if there is one. */
  admit(): boolean {
    const next = this.drafts.find(({ entry }) => entry.offset + entry.count > this.cursor.next);
    if (!next) return false;
    const { entry, draft } = next;
    if (draft.foreign) this.cursor.passTo(entry.offset + entry.count);
    else {
      const held = new Held(entry);
      held.load(block(draft.keys), this.keyed);
      this.cursor.admit(entry, held);
    }
    return true;
  }

  deliver(rooms: readonly number[]): void {
    const takers: Taker[] = rooms.map((room, id) => ({ id, room })).filter(({ room }) => room > 0);
    const missing = this.cursor.ledger.assign(
      takers,
      this.nowMs + ACK_WAIT_MS,
      (taker, piece) => this.#delivered(taker, piece),
      () => false,
    );
    if (missing) throw new Error('everything is loaded');
  }

  #delivered({ id }: Taker, { first, last, count }: Segment): void {
    for (let offset = first; offset <= last; offset++) {
      const record = this.at(offset);
      if (record.state !== 'waiting') throw new Error(`${offset} was delivered and is ${record.state}`);
      record.state = 'out';
      record.consumer = id;
      record.count++;
      record.dueMs = this.nowMs + ACK_WAIT_MS;
      if (record.count !== count) throw new Error(`${offset} is told as delivered ${count} times, not ${record.count}`);
      if (record.key > 0) this.#checkKey(record);
    }
    if (!this.keyed) this.#checkOrder(first);
  }

  /** All earlier ones of the key are settled, or out to the same consumer; and no other consumer has any. */
  #checkKey(record: Model): void {
    for (const other of this.records) {
      if (other === record || other.key !== record.key) continue;
      if (other.state === 'out' && other.consumer !== record.consumer) throw new Error('two consumers have one key');
      const earlier = other.offset < record.offset;
      if (earlier && other.state !== 'out' && other.state !== 'settled')
        throw new Error(`${record.offset} went before ${other.offset}, which is ${other.state}`);
    }
  }

  /** Without keys nothing that waits is passed over. */
  #checkOrder(first: number): void {
    const skipped = this.records.find(({ offset, state }) => offset < first && state === 'waiting');
    if (skipped) throw new Error(`${skipped.offset} was passed over`);
  }

  back(record: Model, readyMs: number): void {
    record.state = record.count >= MAX_DELIVERIES ? 'dead' : readyMs > 0 ? 'delayed' : 'waiting';
    record.dueMs = readyMs;
  }

  ack(consumer: number, ranges: readonly { first: number; last: number }[]): void {
    const named = normalised(ranges);
    let expected = 0;
    for (const record of this.records) {
      const isNamed = named.some(({ first, last }) => record.offset >= first && record.offset <= last);
      if (!isNamed || record.state !== 'out' || record.consumer !== consumer) continue;
      record.state = 'settled';
      expected++;
    }
    const settled = this.cursor.ledger.settle(consumer, named, () => undefined);
    if (settled !== expected) throw new Error(`${settled} were settled, not ${expected}`);
  }

  nack(consumer: number, range: { first: number; last: number }, delayMs: number): void {
    const readyMs = delayMs > 0 ? this.nowMs + delayMs : 0;
    for (const record of this.records) {
      if (record.offset < range.first || record.offset > range.last) continue;
      if (record.state === 'out' && record.consumer === consumer) this.back(record, readyMs);
    }
    this.cursor.ledger.giveBack(consumer, [range], readyMs, 'no', false);
  }

  extend(consumer: number, range: { first: number; last: number }): void {
    for (const record of this.records) {
      if (record.offset < range.first || record.offset > range.last) continue;
      if (record.state === 'out' && record.consumer === consumer) record.dueMs = this.nowMs + ACK_WAIT_MS;
    }
    this.cursor.ledger.extend(consumer, [range], this.nowMs + ACK_WAIT_MS);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (const record of this.records) {
      const due = record.state === 'out' || record.state === 'delayed';
      if (due && record.dueMs <= this.nowMs) this.back(record, 0);
    }
    this.cursor.ledger.expire(this.nowMs);
  }

  gone(consumer: number): void {
    for (const record of this.records) if (record.state === 'out' && record.consumer === consumer) this.back(record, 0);
    this.cursor.ledger.abandon(consumer);
  }

  bury(): void {
    const dead = this.cursor.ledger.firstDead(2);
    if (!dead) {
      if (this.records.some(({ state, offset }) => state === 'dead' && offset < this.cursor.next))
        throw new Error('a dead record is not known');
      return;
    }
    for (let offset = dead.first; offset <= dead.last; offset++) {
      const record = this.at(offset);
      if (record.state !== 'dead') throw new Error(`${offset} is buried and was ${record.state}`);
      record.state = 'settled';
    }
    this.cursor.ledger.bury(dead);
  }

  commit(): void {
    const definition = {
      name: 's',
      pattern: parsePattern('a'),
      group: this.keyed,
      createMs: 1,
      ackWaitMs: ACK_WAIT_MS,
      maxDeliveries: MAX_DELIVERIES,
    };
    const state = this.cursor.state();
    if (state.floor < this.#floor) throw new Error('the floor fell');
    this.#floor = state.floor;
    this.#row = encodeRow(definition, state, 0);
    this.#committed = this.records.map(record => ({ ...record }));
  }

  /** The process is gone: what is committed is what is known. */
  crash(): void {
    this.cursor = new Cursor(decodeRow('s', this.#row).state, this.#options());
    for (const [i, before] of this.#committed.entries()) {
      const record = this.records[i] as Model;
      Object.assign(record, before);
      if (record.state !== 'settled') this.back(record, 0);
    }
  }

  check(): void {
    const { cursor } = this;
    const unsettled = this.records.filter(({ state, offset }) => state !== 'settled' && offset < cursor.next);
    const lowest = unsettled[0];
    if (lowest && cursor.floor > lowest.offset) throw new Error(`the floor ${cursor.floor} is past ${lowest.offset}`);
    if (cursor.ledger.open !== unsettled.length)
      throw new Error(`${cursor.ledger.open} are open, not ${unsettled.length}`);
    const out = this.records.filter(({ state }) => state === 'out').length;
    if (cursor.ledger.out !== out) throw new Error(`${cursor.ledger.out} are out, not ${out}`);
    if (cursor.ledger.segments.length > unsettled.length) throw new Error('there are more pieces than records');
  }

  /** Everything is delivered and acknowledged in the end. */
  finish(): void {
    for (let round = 0; round < 10_000; round++) {
      const more = this.admit();
      this.pass(ACK_WAIT_MS + 1_000);
      for (let i = 0; i < 50; i++) this.bury();
      this.deliver([1_000, 1_000, 1_000]);
      for (let id = 0; id < CONSUMERS; id++) this.ack(id, [{ first: 0, last: 100_000 }]);
      this.check();
      const { ledger } = this.cursor;
      if (!more && ledger.open === 0) break;
    }
    const left = this.records.filter(({ state }) => state !== 'settled');
    if (left.length > 0) throw new Error(`${left.length} were never settled`);
    if (this.cursor.floor !== this.cursor.next) throw new Error('the floor is not at the end');
    const state = this.cursor.state();
    if (state.settled.length + state.deliveries.length + state.spoiled.length > 0)
      throw new Error('something is remembered of what is settled');
  }
}

const range = fc
  .tuple(fc.integer({ min: 0, max: 70 }), fc.integer({ min: 0, max: 12 }))
  .map(([first, length]) => ({ first, last: first + length }));
const consumer = fc.integer({ min: 0, max: CONSUMERS - 1 });
const rooms = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: CONSUMERS, maxLength: CONSUMERS });
const step = (exclusive: boolean): fc.Arbitrary<(world: World) => void> =>
  fc.oneof(
    fc.constant((world: World) => void world.admit()),
    (exclusive ? rooms.map(([room]) => [room ?? 0]) : rooms).map(all => (world: World) => world.deliver(all)),
    fc.tuple(consumer, fc.array(range, { maxLength: 4 })).map(
      ([id, all]) =>
        (world: World) =>
          world.ack(id, all),
    ),
    fc.tuple(consumer, range, fc.integer({ min: 0, max: 150 })).map(
      ([id, one, delayMs]) =>
        (world: World) =>
          world.nack(id, one, delayMs),
    ),
    fc.tuple(consumer, range).map(
      ([id, one]) =>
        (world: World) =>
          world.extend(id, one),
    ),
    fc.integer({ min: 0, max: 150 }).map(ms => (world: World) => world.pass(ms)),
    consumer.map(id => (world: World) => world.gone(id)),
    fc.constant((world: World) => world.bury()),
    fc.constant((world: World) => world.commit()),
    fc.constant((world: World) => world.crash()),
  );
const drafts = fc.array(
  fc.record({
    keys: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 8 }),
    foreign: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
);

for (const kind of ['exclusive', 'group'] as const) {
  test(`cursor: ${kind}: nothing acknowledged comes again, nothing else is skipped, in order, through crashes`, t => {
    const exclusive = kind === 'exclusive';
    const property = fc.property(drafts, fc.array(step(exclusive), { maxLength: 60 }), (some, steps) => {
      const world = new World(some, !exclusive);
      for (const act of steps) {
        act(world);
        world.check();
      }
      world.finish();
    });
    t.notThrows(() => fc.assert(property, { numRuns: 400 }));
  });
}

test('cursor: whole frames taken and acknowledged in order cost one piece each, and nothing once they are settled', t => {
  const cursor = new Cursor(beginningAt(0), { owners: new KeyOwners(), maxDeliveries: 10 });
  const records = block(Array.from({ length: 500 }, () => 0));
  for (let i = 0; i < 100; i++) {
    const entry = entryAt(i * 500, 500);
    const held = new Held(entry);
    held.load(records, false);
    cursor.admit(entry, held);
  }
  const frames: Segment[] = [];
  cursor.ledger.assign(
    [{ id: 1, room: 1_000_000 }],
    1,
    (_, piece) => frames.push(piece),
    () => false,
  );
  t.is(frames.length, 100);
  t.is(cursor.ledger.segments.length, 100);
  t.deepEqual(cursor.state(), { floor: 0, deliveredTo: 50_000, settled: [], deliveries: [], spoiled: [] });
  cursor.ledger.settle(1, [{ first: 0, last: 24_999 }], () => undefined);
  t.is(cursor.floor, 25_000);
  cursor.ledger.settle(1, [{ first: 25_000, last: 49_999 }], () => undefined);
  t.is(cursor.ledger.segments.length, 0);
  t.deepEqual(cursor.state(), beginningAt(50_000));
});

test('cursor: ten thousand ranges of one acknowledgement', t => {
  const cursor = new Cursor(beginningAt(0), { owners: new KeyOwners(), maxDeliveries: 10 });
  const entry = entryAt(0, 20_000);
  const held = new Held(entry);
  held.load(block(Array.from({ length: 20_000 }, () => 0)), false);
  cursor.admit(entry, held);
  cursor.ledger.assign(
    [{ id: 1, room: 1_000_000 }],
    1,
    () => undefined,
    () => false,
  );
  const even = Array.from({ length: 10_000 }, (_, i) => ({ first: 2 * i, last: 2 * i }));
  t.is(
    cursor.ledger.settle(1, even, () => undefined),
    10_000,
  );
  const state = cursor.state();
  t.is(state.floor, 1);
  t.is(state.settled.length, 9_999);
  const again = new Cursor(state, { owners: new KeyOwners(), maxDeliveries: 10 });
  again.admit(entry);
  t.deepEqual(
    again.ledger.segments.map(({ first, last, count }) => [first, last, count]),
    Array.from({ length: 10_000 }, (_, i) => [2 * i + 1, 2 * i + 1, 1]),
  );
});
