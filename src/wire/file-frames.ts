import { FedgateError } from '../errors.js';
import { FieldReader, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { FieldWriter } from './writer.js';

/**
 * The frames of `fedgate.files.v1` that carry content: ShareRequest and FetchResponse. Both have the same form: what opens the call in
 * field 1, a Chunk in field 2. Field numbers are those of file_service.proto.
 */

const OPENING = 1;
const CHUNK = 2;
const OFFSET = 1;
const DATA = 2;

/** How many bytes of content a chunk holds when we make it. */
export const CHUNK_BYTES = 256 * 1024;
/** The most that a chunk may hold, bytes. */
export const MAX_CHUNK_BYTES = 1024 * 1024;
/** Room that `frameChunk` needs in front of the bytes. */
export const CHUNK_HEADROOM = 32;

/** Bytes of a content and where they begin in it. */
export interface Chunk {
  readonly offset: number;
  /** 1 byte to 1 MiB. A view of the frame. */
  readonly data: Buffer;
}

/** What such a frame holds: a chunk, or the encoded message that opens the call. */
export type FileFrame = { readonly chunk: Chunk } | { readonly opening: Buffer };

/** Throws FRAME_MALFORMED, and FRAME_TOO_LARGE for a chunk over the limit. */
export function readFileFrame(bytes: Buffer): FileFrame {
  const reader = new FieldReader(bytes);
  if (!reader.next() || reader.wireType !== LENGTH_DELIMITED) throw malformed('it holds neither a start nor a chunk');
  if (reader.end !== bytes.length) throw malformed('something stands behind what it holds');
  if (reader.field === OPENING) return { opening: reader.content() };
  if (reader.field !== CHUNK) throw malformed(`field ${reader.field} is not known`);
  return { chunk: readChunk(bytes, reader.start, reader.end) };
}

function readChunk(bytes: Buffer, start: number, end: number): Chunk {
  const reader = new FieldReader(bytes, start, end);
  let offset = 0;
  let data: Buffer | undefined;
  while (reader.next()) {
    if (reader.field === OFFSET && reader.wireType === VARINT) offset = reader.value;
    else if (reader.field === DATA && reader.wireType === LENGTH_DELIMITED) data = reader.content();
    else throw malformed(`field ${reader.field} of the chunk is not known`);
  }
  if (!data || data.length === 0) throw malformed('the chunk is empty');
  if (data.length > MAX_CHUNK_BYTES)
    throw new FedgateError('FRAME_TOO_LARGE', `a chunk holds at most ${MAX_CHUNK_BYTES} bytes`, {
      metadata: { limit: 'chunk' },
    });
  return { offset, data };
}

/**
 * Makes a frame of the bytes that stand in a buffer from `start` to `end`, without copying them: it begins in front of them, where there
 * must be CHUNK_HEADROOM bytes of room. A view of the buffer.
 */
export function frameChunk(buffer: Buffer, start: number, end: number, offset: number): Buffer {
  const header = chunkHeader(offset, end - start);
  const begin = start - header.length;
  buffer.set(header, begin);
  return buffer.subarray(begin, end);
}

/** The same with a copy, for bytes without room in front of them. */
export const encodeChunk = (offset: number, data: Uint8Array): Buffer =>
  Buffer.concat([chunkHeader(offset, data.length), data]);

/** The frame that opens a call, from the encoded ShareStart or FetchOpened. */
export const encodeOpening = (message: Uint8Array): Buffer =>
  Buffer.concat([new FieldWriter().prefix(OPENING, message.length).view(), message]);

const outer = new FieldWriter();
const inner = new FieldWriter();

/** All that stands in front of the bytes. Good until the next call. */
function chunkHeader(offset: number, length: number): Buffer {
  inner.reset().number(OFFSET, offset).prefix(DATA, length);
  outer.reset().prefix(CHUNK, inner.length + length);
  return outer.raw(inner.view()).view();
}
