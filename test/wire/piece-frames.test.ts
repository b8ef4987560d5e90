import test from 'ava';
import fc from 'fast-check';
import { LaneFrame, OpenLaneRequest } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../../src/errors.js';
import { encodeLaneFrame, openLaneFrame } from '../../src/wire/lane-frames.js';
import { encodeFileData, MAX_CHUNK_BYTES } from '../../src/wire/piece-frames.js';

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const chunks = fc.record({
  session: uint32,
  piece: uint32,
  offset: uint32,
  data: fc.uint8Array({ minLength: 1, maxLength: 2_000 }).map(bytes => Buffer.from(bytes)),
});

test('file data: a chunk crosses between our codec and the generated one, both ways', t => {
  fc.assert(
    fc.property(chunks, chunk => {
      const ours = encodeFileData(chunk);
      const { frame } = OpenLaneRequest.decode(ours).frame ?? {};
      const value = frame?.$case === 'fileData' ? frame.value : undefined;
      t.deepEqual(value && { ...value, data: Buffer.from(value.data) }, chunk);
      const theirs = encodeLaneFrame(LaneFrame.encode({ frame: { $case: 'fileData', value: chunk } }).finish());
      const opened = openLaneFrame(theirs);
      t.deepEqual('fileData' in opened && opened.fileData, chunk);
    }),
    { numRuns: 300 },
  );
});

test('file data: what is read is a view of the frame, not a copy', t => {
  const frame = encodeFileData({ session: 1, piece: 2, offset: 3, data: Buffer.alloc(256 * 1024, 7) });
  const opened = openLaneFrame(frame);
  t.true('fileData' in opened && opened.fileData.data.buffer === frame.buffer);
});

const frameOf = (...fields: number[]): Buffer => encodeLaneFrame(Buffer.from([14 * 8 + 2, fields.length, ...fields]));

test('file data: what is not exactly that is refused', t => {
  const lies: readonly Buffer[] = [
    encodeFileData({ session: 1, piece: 0, offset: 0, data: Buffer.alloc(0) }),
    frameOf(8, 1),
    frameOf(0x22, 1, 7, 0x22, 1, 7),
    frameOf(0x22, 1, 7, 0x2a, 1, 7),
    frameOf(0x22, 1, 7, 0x28, 1),
    frameOf(0x20, 1),
    frameOf(0x0a, 1, 7, 0x22, 1, 7),
    frameOf(0x08, 0x80, 0x80, 0x80, 0x80, 0x10, 0x22, 1, 7),
    frameOf(0x22, 9, 7),
    encodeLaneFrame(Buffer.from([14 * 8, 7])),
    encodeLaneFrame(Buffer.from([14 * 8 + 2, 3, 0x22, 1, 7, 0x10, 1])),
  ];
  for (const [i, lie] of lies.entries()) {
    const error = t.throws(() => openLaneFrame(lie), { instanceOf: FedgateError }, String(i));
    t.is(error?.reason, 'FRAME_MALFORMED', String(i));
  }
  const largest = { session: 1, piece: 0, offset: 0, data: Buffer.alloc(MAX_CHUNK_BYTES) };
  t.true('fileData' in openLaneFrame(encodeFileData(largest)));
  const larger = encodeFileData({ ...largest, data: Buffer.alloc(MAX_CHUNK_BYTES + 1) });
  t.is(t.throws(() => openLaneFrame(larger), { instanceOf: FedgateError })?.reason, 'FRAME_TOO_LARGE');
});
