import test from 'ava';
import fc from 'fast-check';
import { RecordEncoder, type RecordInit } from '../../src/wire/record-codec.js';
import { recordKeys, recordStarts, sliceAt } from '../../src/wire/record-index.js';
import { RECORDS_FIELD, type RecordBlock, sliceBlock } from '../../src/wire/records.js';
import { FieldWriter } from '../../src/wire/writer.js';

function encode(records: readonly RecordInit[]): RecordBlock {
  const encoder = new RecordEncoder(1024, 0);
  for (const record of records) encoder.add(record, 1);
  const { bytes, start, end } = encoder.finish();
  return { bytes: bytes.subarray(start, end), count: records.length };
}

const record = fc.record({
  payload: fc.uint8Array({ maxLength: 300 }),
  id: fc.string({ maxLength: 5 }),
  key: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }),
  contentType: fc.constantFrom('', 'text/plain'),
  headers: fc.option(fc.constant({ key: 'a' }), { nil: undefined }),
});

test('record index: equal keys have equal numbers, others others, and none has none', t => {
  const property = fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), records => {
    const keys = recordKeys(encode(records));
    const numbers = new Map<string | undefined, number>();
    for (const [i, { key }] of records.entries()) {
      const number = keys?.[i] ?? 0;
      if ((number === 0) !== (key === undefined)) return false;
      if ((numbers.get(key) ?? number) !== number) return false;
      numbers.set(key, number);
    }
    return new Set(numbers.values()).size === numbers.size && (keys !== undefined || !records.some(({ key }) => key));
  });
  t.notThrows(() => fc.assert(property));
});

test('record index: slices are those of walking over the block', t => {
  const property = fc.property(
    fc.array(record, { minLength: 1, maxLength: 20 }),
    fc.nat(20),
    fc.nat(20),
    (records, a, b) => {
      const block = encode(records);
      const from = Math.min(a, b, block.count - 1);
      const to = Math.min(Math.max(a, b), block.count);
      if (from >= to) return true;
      const one = sliceAt(block, recordStarts(block), from, to);
      const other = sliceBlock(block, from, to);
      return one.bytes.equals(other.bytes) && one.count === other.count;
    },
  );
  t.notThrows(() => fc.assert(property));
});

test('record index: the last key counts, and what is no message has none', t => {
  const twice = new FieldWriter().bytes(2, Buffer.from('x')).bytes(2, Buffer.from('a')).view();
  const broken = Buffer.from([0x12, 0x7f]);
  const writer = new FieldWriter();
  for (const bytes of [twice, broken, Buffer.alloc(0)]) writer.bytes(RECORDS_FIELD, bytes);
  const keys = recordKeys({ bytes: writer.view(), count: 3 });
  const [a] = recordKeys(encode([{ payload: '', key: 'a' }])) ?? [];
  t.deepEqual([...(keys ?? [])], [a, 0, 0]);
});
