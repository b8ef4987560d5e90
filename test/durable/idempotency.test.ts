import test from 'ava';
import { Admission, IdempotencyTable, type Judgement } from '../../src/durable/idempotency.js';
import { DEDUPE_KEEP_MS, type IdempotencyOptions } from '../../src/durable/idempotency-call.js';
import type { Idempotency, StreamPosition } from '../../src/durable/types.js';
import { FedgateError } from '../../src/errors.js';
import { Change } from '../../src/store/store.js';
import { MemoryStore } from '../support/memory-store.js';

const id = (text: string): Idempotency => ({ kind: 'id', id: text });
const producer = (sequence: number, epoch = 1): Idempotency => ({ kind: 'producer', id: 'p', epoch, sequence });

/** An owner of the table that gives out positions 1, 2, … and commits each call by itself. */
class Owner {
  readonly store: MemoryStore;
  readonly table: IdempotencyTable;
  readonly #admission: Admission;
  #next = 1;

  private constructor(store: MemoryStore, table: IdempotencyTable) {
    this.store = store;
    this.table = table;
    this.#admission = new Admission(table);
  }

  static async open(store: MemoryStore, options: Partial<IdempotencyOptions> = {}): Promise<Owner> {
    return new Owner(store, await IdempotencyTable.open({ store, scope: 'log', now: () => 1_000, ...options }));
  }

  /** The position, or `= position` for a duplicate, or the reason for which it was refused. */
  async call(idempotency: Idempotency | undefined, node = 'n'): Promise<string> {
    try {
      const call = idempotency && { node, address: 'orders', idempotency };
      const judgement = await new Promise<Judgement & { at: number; stored?: Promise<void> }>((resolve, reject) =>
        this.#admission.admit(
          call,
          judged => {
            if (judged.kind === 'known') return resolve({ ...judged, at: 0 });
            const at = this.#next++;
            resolve({ ...judged, at, stored: this.#store(judged, { epoch: 0n, sequence: at }) });
          },
          reject,
        ),
      );
      if (judgement.kind === 'known') return `= ${(await judgement.position).sequence}`;
      await judgement.stored;
      return String(judgement.at);
    } catch (error) {
      if (error instanceof FedgateError) return error.metadata.expected ?? error.reason;
      throw error;
    }
  }

  async #store({ claim }: Extract<Judgement, { kind: 'new' }>, position: StreamPosition): Promise<void> {
    const change = new Change();
    claim?.record(change, position);
    try {
      await this.store.commit(change);
    } catch (error) {
      claim?.failed(error);
      throw error;
    }
    claim?.committed();
  }
}

test('idempotency: an id is stored once, across restarts, per node', async t => {
  const store = new MemoryStore();
  const owner = await Owner.open(store);
  t.is(await owner.call(id('a')), '1');
  t.is(await owner.call(id('b')), '2');
  t.is(await owner.call(id('a')), '= 1');
  t.is(await owner.call(id('a'), 'other'), '3');
  const again = await Owner.open(new MemoryStore(store.disk));
  t.is(await again.call(id('b')), '= 2');
});

test('idempotency: repetitions that come while the first is under way get its answer, or its error', async t => {
  const store = new MemoryStore();
  const owner = await Owner.open(store);
  t.deepEqual(await Promise.all([owner.call(id('a')), owner.call(id('a')), owner.call(undefined)]), ['1', '= 1', '2']);
  store.failures = 1;
  t.deepEqual(await Promise.all([owner.call(id('b')), owner.call(id('b'))]), ['STORE_FAILED', 'STORE_FAILED']);
  t.is(await owner.call(id('b')), '4');
});

test('idempotency: calls are judged in the order in which they came, although some wait for the disk', async t => {
  const owner = await Owner.open(new MemoryStore());
  const calls = [undefined, id('a'), undefined, producer(1), producer(2), id('b'), undefined];
  t.deepEqual(await Promise.all(calls.map(call => owner.call(call))), ['1', '2', '3', '4', '5', '6', '7']);
});

test('idempotency: a producer counts by one, and a repetition says where its records are', async t => {
  const store = new MemoryStore();
  const owner = await Owner.open(store);
  t.is(await owner.call(producer(2)), '1', 'the sequence that is expected');
  t.deepEqual(await Promise.all([1, 2, 3, 3, 5].map(sequence => owner.call(producer(sequence)))), [
    '1',
    '2',
    '3',
    '= 3',
    '4',
  ]);
  const again = await Owner.open(new MemoryStore(store.disk));
  t.is(await again.call(producer(2)), '= 2');
  t.is(await again.call(producer(5)), '4');
});

test('idempotency: a higher epoch begins with 1 and fences the lower one', async t => {
  const owner = await Owner.open(new MemoryStore());
  await owner.call(producer(1, 3));
  t.is(await owner.call(producer(2, 4)), '1', 'the sequence that is expected');
  t.is(await owner.call(producer(1, 4)), '2');
  t.is(await owner.call(producer(2, 3)), 'PRODUCER_FENCED');
  t.is(await owner.call(producer(1, 4)), '= 2');
});

test('idempotency: when a call of a producer is not stored, those behind it are not either, and all can be repeated', async t => {
  const store = new MemoryStore();
  const owner = await Owner.open(store);
  await owner.call(producer(1));
  store.failures = 1;
  const failed = [2, 3, 4].map(sequence => owner.call(producer(sequence)));
  t.deepEqual(await Promise.all(failed), ['STORE_FAILED', 'STORE_FAILED', 'STORE_FAILED']);
  t.is(await owner.call(producer(3)), '2', 'the sequence that is expected');
  t.is(await owner.call(producer(2)), '5');
});

test('idempotency: claims that are lost with an earlier one say so', async t => {
  const table = await IdempotencyTable.open({ store: new MemoryStore(), scope: 'x', now: () => 1 });
  const admission = new Admission(table);
  const judge = (sequence: number) =>
    new Promise<Judgement>((resolve, reject) =>
      admission.admit({ node: 'n', address: 'a', idempotency: producer(sequence) }, resolve, reject),
    );
  const [first, second] = await Promise.all([judge(1), judge(2)]);
  if (first?.kind !== 'new' || second?.kind !== 'new') return t.fail();
  first.claim?.failed('gone');
  t.is(second.claim?.lost, 'gone');
  second.claim?.failed(second.claim.lost);
  t.is((await judge(1)).kind, 'new');
});

test('idempotency: ids are forgotten after seven days, or when there are too many', async t => {
  const store = new MemoryStore();
  let now = 1_000;
  const owner = await Owner.open(store, { now: () => now, maxIds: 3 });
  for (const each of ['a', 'b', 'c', 'd', 'e']) await owner.call(id(each));
  await owner.table.prune();
  const rows = () => store.disk.tables.get('idempotency')?.rows.size;
  t.is(rows(), 6);
  t.is(await owner.call(id('c')), '= 3');
  now += DEDUPE_KEEP_MS + 1;
  t.is(await owner.call(id('c')), '6');
  await owner.table.prune();
  t.is(rows(), 2);
  t.is(await owner.call(id('c')), '= 6');
});

test('idempotency: of too many producers those used last are remembered', async t => {
  const store = new MemoryStore();
  const owner = await Owner.open(store, { maxProducers: 4 });
  const named = (name: string, sequence: number): Idempotency => ({ kind: 'producer', id: name, epoch: 1, sequence });
  await owner.call(named('old', 1));
  for (const each of ['a', 'b', 'c']) await owner.call(named(each, 1));
  await owner.call(named('old', 2));
  for (const each of ['d', 'e']) await owner.call(named(each, 1));
  await owner.table.prune();
  t.is(store.disk.tables.get('idempotency')?.rows.size, 8);
  t.regex(await owner.call(named('old', 2)), /^=/);
  t.is(await owner.call(named('a', 2)), '1', 'forgotten: the sequence that is expected');
});

test('idempotency: what cannot be read is refused, not taken for new', async t => {
  const store = new MemoryStore();
  const owner = await Owner.open(store);
  await owner.call(id('a'));
  const fresh = await Owner.open(store);
  const { get } = store;
  store.get = () => Promise.reject(new FedgateError('STORE_FAILED', 'the disk failed'));
  t.deepEqual(await Promise.all([fresh.call(id('a')), fresh.call(producer(1))]), ['STORE_FAILED', 'STORE_FAILED']);
  store.get = get;
  t.is(await fresh.call(id('a')), '= 1');
  t.is(await fresh.call(producer(1)), '1');
});
