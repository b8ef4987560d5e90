import test from 'ava';
import fc from 'fast-check';
import { LaneFrame, OpenLaneRequest } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { PublishStreamRequest, SubscribeResponse } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { Record as ProtoRecord } from '../../gen/ts/fedgate/messaging/v1/record.js';
import { FedgateError } from '../../src/errors.js';
import { encodeBatchFrame, encodeLaneFrame, openLaneFrame } from '../../src/wire/lane-frames.js';
import {
  encodeDelivery,
  readDelivery,
  readPublishRequest,
  readPublishStreamRequest,
} from '../../src/wire/messaging-frames.js';
import { FieldReader } from '../../src/wire/reader.js';
import { ReceivedRecord, RecordEncoder } from '../../src/wire/record-codec.js';

// The generated codecs are the other side: whatever language it is written in, it encodes as they do.

const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const bytes = fc.uint8Array({ maxLength: 300 }).map(each => Buffer.from(each));
const init = fc.record({
  payload: fc.oneof(bytes, text),
  id: fc.option(text, { nil: undefined }),
  key: fc.option(fc.oneof(bytes, text), { nil: undefined }),
  contentType: fc.option(text, { nil: undefined }),
  headers: fc.option(fc.dictionary(text, text, { maxKeys: 5 }), { nil: undefined }),
  timeMs: fc.maxSafeNat(),
});
const proto: fc.Arbitrary<ProtoRecord> = fc.record({
  id: text,
  key: bytes,
  timeMs: fc.bigInt({ min: -(2n ** 53n) + 1n, max: 2n ** 53n - 1n }),
  contentType: text,
  headers: fc.array(fc.tuple(text, text), { maxLength: 4 }).map(entries => new Map(entries)),
  payload: bytes,
});
const name = fc.stringMatching(/^[a-z]{1,20}$/);
const plain = (record: ProtoRecord) => ({
  ...record,
  key: Buffer.from(record.key),
  payload: Buffer.from(record.payload),
});
const encode = (records: Parameters<RecordEncoder['add']>[0][]): Buffer => {
  const encoder = new RecordEncoder(16, 32);
  for (const record of records) encoder.add(record, 1);
  const { bytes: all, start, end } = encoder.finish();
  return all.subarray(start, end);
};
const asBuffer = (value: Uint8Array | string | undefined): Buffer =>
  typeof value === 'string' ? Buffer.from(value) : Buffer.from(value ?? []);

test('record: what we encode, the generated codec reads', t => {
  fc.assert(
    fc.property(fc.array(init, { minLength: 1, maxLength: 5 }), records => {
      const decoded = PublishStreamRequest.decode(encode(records)).records.map(plain);
      const expected = records.map(({ payload, id, key, contentType, headers, timeMs }) => ({
        id: id ?? '',
        key: asBuffer(key),
        timeMs: BigInt(timeMs),
        contentType: contentType ?? '',
        headers: new Map(Object.entries(headers ?? {})),
        payload: asBuffer(payload),
      }));
      t.deepEqual(decoded, expected);
    }),
    { numRuns: 300 },
  );
});

test('record: what the generated codec encodes, we read', t => {
  fc.assert(
    fc.property(proto, record => {
      const encoded = Buffer.from(ProtoRecord.encode(record).finish());
      const { id, key, timeMs, contentType, headers, payload } = new ReceivedRecord(encoded, 0, encoded.length);
      t.deepEqual({ id, key, timeMs: BigInt(timeMs), contentType, headers: new Map(headers), payload }, plain(record));
    }),
    { numRuns: 300 },
  );
});

test('publish frame: what the generated codec encodes, the gateway reads, records untouched', t => {
  const frame = fc.record({
    frameId: fc.bigInt({ min: 1n, max: 2n ** 53n - 1n }),
    address: name,
    patienceMs: fc.nat(0xffffffff),
    records: fc.array(proto, { minLength: 1, maxLength: 4 }),
  });
  fc.assert(
    fc.property(frame, each => {
      const read = readPublishStreamRequest(
        Buffer.from(PublishStreamRequest.encode({ ...PublishStreamRequest.fromPartial({}), ...each }).finish()),
      );
      t.deepEqual(
        [BigInt(read.frameId), read.address, read.patienceMs, read.records.count],
        [each.frameId, each.address, each.patienceMs, each.records.length],
      );
      t.deepEqual(PublishStreamRequest.decode(read.records.bytes).records.map(plain), each.records.map(plain));
    }),
    { numRuns: 200 },
  );
});

test('publish frame: records that do not stand together are all taken, in order', t => {
  const one = encode([{ payload: 'one' }]);
  const two = encode([{ payload: 'two' }]);
  const address = Buffer.from([0x12, 0x01, 0x61]);
  const { records } = readPublishStreamRequest(Buffer.concat([one, address, two, Buffer.from([0x08, 0x01]), one]));
  t.is(records.count, 3);
  t.deepEqual(records.bytes, Buffer.concat([one, two, one]));
});

test('delivery: what the gateway encodes, the generated codec and the client read', t => {
  fc.assert(
    fc.property(
      name,
      name,
      name,
      fc.array(init, { minLength: 1, maxLength: 4 }),
      (channel, senderOrg, senderNode, records) => {
        const block = { bytes: encode(records), count: records.length };
        const encoded = encodeDelivery({ channel, senderOrg, senderNode }, block);
        const decoded = SubscribeResponse.decode(encoded);
        t.deepEqual(
          [decoded.channel, decoded.senderOrg, decoded.senderNode, decoded.records.length],
          [channel, senderOrg, senderNode, records.length],
        );
        const read = readDelivery(encoded);
        t.deepEqual(encoded.subarray(read.recordsStart), block.bytes);
      },
    ),
    { numRuns: 100 },
  );
});

test('lane frame: a batch crosses between our codec and the generated one, both ways', t => {
  const parts = fc.record({ header: bytes, signature: bytes, records: fc.array(init, { minLength: 1, maxLength: 4 }) });
  fc.assert(
    fc.property(parts, ({ header, signature, records }) => {
      const sealed = { header, signature, records: { bytes: encode(records), count: records.length } };
      const ours = encodeBatchFrame(sealed);
      const theirs = OpenLaneRequest.decode(ours);
      const batch = theirs.frame?.frame?.$case === 'batch' ? theirs.frame.frame.value : undefined;
      t.deepEqual(
        [Buffer.from(batch?.header ?? []), Buffer.from(batch?.signature ?? []), batch?.records.length],
        [header, signature, records.length],
      );
      const opened = openLaneFrame(ours);
      t.deepEqual('batch' in opened && opened.batch, sealed);
    }),
    { numRuns: 100 },
  );
});

test('lane frame: other kinds come out as they went in', t => {
  const frame = { $case: 'ping', value: { nonce: 7n } } as const;
  const opened = openLaneFrame(encodeLaneFrame(LaneFrame.encode({ frame }).finish()));
  t.deepEqual('other' in opened && LaneFrame.decode(opened.other).frame, frame);
});

test('reader: random bytes end in fields or in a FedgateError, nothing else', t => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.tuple(fc.uint8Array({ maxLength: 30 }), fc.nat(40)).map(([noise, at]) => {
      const good = Buffer.from(encode([{ payload: 'hello', headers: { a: 'b' } }]));
      good.set(noise.subarray(0, Math.max(0, good.length - at)), Math.min(at, good.length));
      return good;
    }),
  );
  const readers: readonly ((each: Buffer) => unknown)[] = [
    each => {
      const reader = new FieldReader(each);
      while (reader.next()) if (reader.end > each.length) throw new Error('outside');
    },
    readPublishStreamRequest,
    readPublishRequest,
    openLaneFrame,
    readDelivery,
    each => {
      const { id, key, timeMs, contentType, headers, payload } = new ReceivedRecord(each, 0, each.length);
      return [id, key, timeMs, contentType, headers, payload];
    },
  ];
  fc.assert(
    fc.property(hostile, each => {
      for (const read of readers) {
        try {
          read(Buffer.from(each));
        } catch (error) {
          if (!(error instanceof FedgateError) || error.reason === 'INTERNAL') throw error;
        }
      }
    }),
    { numRuns: 5_000 },
  );
  t.pass();
});
