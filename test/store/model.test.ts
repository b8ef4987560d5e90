import test from 'ava';
import fc from 'fast-check';
import { openStore } from '../../src/store/open.js';
import { type BodyRef, Change, type Store } from '../../src/store/store.js';
import { temporaryFolder } from '../support/registry.js';
import { bodyOf, sha256, writeBody } from './support.js';

/** A store next to plain maps that say what it should hold, through any order of changes and restarts. */

const TABLES = ['rows', 'row'] as const;
const LOGS = ['inbox', 'outbox-A'] as const;

const table = fc.constantFrom(...TABLES);
const name = fc.integer({ min: 0, max: 30 });
const operation = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), table, name, value: fc.uint8Array({ maxLength: 50 }) }),
  fc.record({ kind: fc.constant('remove' as const), table, name }),
  fc.record({ kind: fc.constant('range' as const), table, from: name, to: name }),
  fc.record({
    kind: fc.constant('body' as const),
    log: fc.constantFrom(...LOGS),
    length: fc.integer({ min: 0, max: 3000 }),
  }),
  fc.record({ kind: fc.constant('release' as const), which: fc.nat() }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const step = fc.oneof(
  { weight: 8, arbitrary: fc.array(fc.array(operation, { maxLength: 6 }), { minLength: 1, maxLength: 4 }) },
  { weight: 1, arbitrary: fc.constant('restart' as const) },
);

const keyOf = (number: number): Buffer => Buffer.of(number);

class Model {
  readonly #tables = new Map(TABLES.map(table => [table as string, new Map<number, Buffer>()]));
  readonly #bodies: { readonly ref: BodyRef; readonly body: Buffer }[] = [];
  #made = 0;

  /** Makes a change out of operations, in the order in which a change carries them out, and does the same here. */
  change(store: Store, operations: readonly Operation[]): Change {
    const change = new Change();
    const rank = { range: 0, remove: 1, put: 2, body: 3, release: 4 };
    for (const one of operations.toSorted((a, b) => rank[a.kind] - rank[b.kind])) this.#add(store, change, one);
    return change;
  }

  #add(store: Store, change: Change, one: Operation): void {
    const rows = 'table' in one ? (this.#tables.get(one.table) as Map<number, Buffer>) : new Map<number, Buffer>();
    switch (one.kind) {
      case 'put':
        change.put(one.table, keyOf(one.name), Buffer.from(one.value));
        rows.set(one.name, Buffer.from(one.value));
        return;
      case 'remove':
        change.remove(one.table, keyOf(one.name));
        rows.delete(one.name);
        return;
      case 'range':
        change.removeRange(one.table, { from: keyOf(one.from), to: keyOf(one.to) });
        for (const key of [...rows.keys()]) if (key >= one.from && key < one.to) rows.delete(key);
        return;
      case 'body': {
        const body = bodyOf(this.#made++, one.length);
        this.#bodies.push({ ref: writeBody(store, change, one.log, body), body });
        return;
      }
      case 'release': {
        const [found] = this.#bodies.splice(one.which % Math.max(1, this.#bodies.length), 1);
        if (found) change.release(found.ref);
        return;
      }
    }
  }

  /** Throws when the store holds anything else. */
  async compare(store: Store): Promise<void> {
    for (const [table, rows] of this.#tables) {
      const expected = [...rows].toSorted(([a], [b]) => a - b).map(([key, value]) => `${key}:${value.toString('hex')}`);
      const found = await store.scan(table, { limit: 1000 });
      const actual = found.map(({ key, value }) => `${key[0]}:${value.toString('hex')}`);
      if (actual.join() !== expected.join())
        throw new Error(`${table}: ${actual.join()} instead of ${expected.join()}`);
    }
    let bytes = 0;
    for (const { ref, body } of this.#bodies) {
      bytes += body.length;
      if (!(await store.read(ref, sha256(body))).equals(body)) throw new Error('a body differs');
    }
    const counted = [...(await store.stats()).bodyBytes.values()].reduce((sum, one) => sum + one, 0);
    if (counted !== bytes) throw new Error(`${counted} bytes of bodies instead of ${bytes}`);
  }
}

test('model: a store holds what maps hold, over changes in groups and restarts', async t => {
  const options = { reserveBytes: 0, segmentBytes: 8000 };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async steps => {
      const folder = await temporaryFolder(t);
      const model = new Model();
      let store = await openStore(folder, options);
      try {
        for (const one of steps) {
          if (one === 'restart') {
            await store.close();
            store = await openStore(folder, options);
          } else {
            await Promise.all(one.map(operations => store.commit(model.change(store, operations))));
          }
          await model.compare(store);
        }
      } finally {
        await store.close();
      }
    }),
    { numRuns: 40 },
  );
  t.pass();
});
