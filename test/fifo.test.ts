import test from 'ava';
import fc from 'fast-check';
import { Fifo } from '../src/fifo.js';

test('fifo: behaves as an array does, through thousands of items', t => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -3_000, max: 3_000 }), { maxLength: 8 }), changes => {
      const fifo = new Fifo<number>();
      const array: number[] = [];
      let next = 0;
      for (const change of changes) {
        for (let i = 0; i < change; i++) {
          fifo.push(++next);
          array.push(next);
        }
        for (let i = 0; i > change; i--) if (fifo.shift() !== array.shift()) return false;
        if (fifo.length !== array.length || fifo.peek() !== array[0] || fifo.last() !== array.at(-1)) return false;
      }
      t.deepEqual(fifo.toArray(), array);
      t.deepEqual(fifo.drain(), array);
      return fifo.length === 0 && fifo.shift() === undefined && fifo.last() === undefined;
    }),
    { numRuns: 50 },
  );
});
