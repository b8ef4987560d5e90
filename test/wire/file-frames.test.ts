import test from 'ava';
import fc from 'fast-check';
import { FetchResponse, ShareRequest } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../../src/errors.js';
import {
  CHUNK_HEADROOM,
  encodeChunk,
  encodeOpening,
  frameChunk,
  MAX_CHUNK_BYTES,
  readFileFrame,
} from '../../src/wire/file-frames.js';

// The generated codecs are the other side: whatever language it is written in, it encodes as they do.

const chunk = fc.record({
  offset: fc.maxSafeNat(),
  data: fc.uint8Array({ minLength: 1, maxLength: 300 }).map(each => Buffer.from(each)),
});

test('file frames: chunks are what the generated codec writes and reads', t => {
  fc.assert(
    fc.property(chunk, ({ offset, data }) => {
      const value = { offset: BigInt(offset), data };
      const theirs = Buffer.from(ShareRequest.encode({ frame: { $case: 'chunk', value } }).finish());
      t.deepEqual(readFileFrame(theirs), { chunk: { offset, data } });
      t.deepEqual(encodeChunk(offset, data), theirs);
      const room = Buffer.concat([Buffer.alloc(CHUNK_HEADROOM), data, Buffer.from('behind')]);
      t.deepEqual(frameChunk(room, CHUNK_HEADROOM, CHUNK_HEADROOM + data.length, offset), theirs);
    }),
  );
});

test('file frames: what opens a call comes back as it is', t => {
  const start = Buffer.from([10, 2, 1, 2]);
  t.deepEqual(readFileFrame(encodeOpening(start)), { opening: start });
  const opened = { share: undefined, manifest: undefined, cachedBytes: 7n };
  const theirs = FetchResponse.encode({ frame: { $case: 'opened', value: opened } }).finish();
  t.deepEqual(readFileFrame(Buffer.from(theirs)), { opening: Buffer.from([24, 7]) });
});

test('file frames: what is no frame is refused by reason', t => {
  const reasonOf = (bytes: Buffer): string => {
    try {
      readFileFrame(bytes);
      return 'taken';
    } catch (error) {
      return error instanceof FedgateError ? error.reason : String(error);
    }
  };
  t.is(reasonOf(Buffer.alloc(0)), 'FRAME_MALFORMED');
  t.is(reasonOf(Buffer.from([8, 1])), 'FRAME_MALFORMED');
  t.is(reasonOf(Buffer.from([26, 0])), 'FRAME_MALFORMED');
  t.is(
    reasonOf(Buffer.concat([encodeChunk(0, Buffer.from('a')), encodeChunk(1, Buffer.from('b'))])),
    'FRAME_MALFORMED',
  );
  t.is(reasonOf(encodeChunk(5, Buffer.alloc(0))), 'FRAME_MALFORMED');
  t.is(reasonOf(encodeChunk(0, Buffer.alloc(MAX_CHUNK_BYTES))), 'taken');
  t.is(reasonOf(encodeChunk(0, Buffer.alloc(MAX_CHUNK_BYTES + 1))), 'FRAME_TOO_LARGE');
  const cut = encodeChunk(0, Buffer.from('abc'));
  for (let length = 0; length < cut.length; length++) t.is(reasonOf(cut.subarray(0, length)), 'FRAME_MALFORMED');
});
