import { type FieldReader, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { tooLarge } from './records.js';
import { FieldWriter } from './writer.js';

/** Bytes of a piece on their way: `FileData` of federation_service.proto, the one frame of the files lane that is not small and rare. */
export interface FileChunk {
  readonly session: number;
  readonly piece: number;
  /** Where in the piece they begin. */
  readonly offset: number;
  readonly data: Buffer;
}

/** Field numbers of the frame in LaneFrame, and of LaneFrame in OpenLaneRequest and OpenLaneResponse. */
export const FILE_DATA = 14;
const FRAME = 1;
const DATA = 4;
/** The most bytes that one frame may hold. */
export const MAX_CHUNK_BYTES = 1024 * 1024;
const MAX_UINT32 = 2 ** 32 - 1;

const fields = new FieldWriter();
const inner = new FieldWriter();
const outer = new FieldWriter();

/** Encodes OpenLaneRequest or OpenLaneResponse with the chunk in it. The bytes are copied into it. */
export function encodeFileData({ session, piece, offset, data }: FileChunk): Buffer {
  fields.reset().number(1, session).number(2, piece).number(3, offset).prefix(DATA, data.length);
  const length = fields.length + data.length;
  inner.reset().prefix(FILE_DATA, length);
  outer.reset().prefix(FRAME, inner.length + length);
  return Buffer.concat([outer.view(), inner.view(), fields.view(), data], outer.length + inner.length + length);
}

/** Reads a FileData whose fields `reader` stands before. Its data is a view. Throws FRAME_MALFORMED, FRAME_TOO_LARGE. */
export function readFileData(reader: FieldReader): FileChunk {
  const numbers = [0, 0, 0, 0];
  let data: Buffer | undefined;
  while (reader.next()) {
    const { field, wireType } = reader;
    if (field === DATA && wireType === LENGTH_DELIMITED && !data) data = reader.content();
    else if (field < DATA && wireType === VARINT && reader.value <= MAX_UINT32) numbers[field] = reader.value;
    else throw malformed(`field ${field} of the file data is not known`);
  }
  if (!data || data.length === 0) throw malformed('the file data is empty');
  if (data.length > MAX_CHUNK_BYTES) throw tooLarge('the file data is over the limit');
  const [, session = 0, piece = 0, offset = 0] = numbers;
  return { session, piece, offset, data };
}
