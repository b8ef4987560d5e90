import { FILE_DATA, type FileChunk, readFileData } from './piece-frames.js';
import { FieldReader, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { EMPTY_BLOCK, MAX_FRAME_BYTES, RECORDS_FIELD, type RecordBlock, RecordCollector, tooLarge } from './records.js';
import { LANE_STREAM_DATA, type LaneStreamData, readLaneStreamData } from './stream-frames.js';
import { readTopicPost, type SealedPost, TOPIC_POST } from './topic-frames.js';
import { FieldWriter } from './writer.js';

/** The opaque forms of the frames of `fedgate.federation.v1`. Field numbers are those of federation_service.proto. */

/** A batch as it travels: the signed header and the records still encoded. */
export interface SealedBatch {
  readonly header: Buffer;
  readonly signature: Buffer;
  readonly records: RecordBlock;
  /** A number of `Withheld`. When it is there the sender holds the records back, and there are none. */
  readonly withheld?: number | undefined;
}

/** What a lane receives: a batch or a post in opaque form, bytes of a file or a stream, or the bytes of a LaneFrame of another kind. */
export type OpenedLaneFrame =
  | { readonly batch: SealedBatch }
  | { readonly fileData: FileChunk }
  | { readonly topicPost: SealedPost }
  | { readonly streamData: LaneStreamData }
  | { readonly other: Buffer };

const FRAME = 1;
const BATCH = 5;
const OPAQUE: ReadonlySet<number> = new Set([BATCH, FILE_DATA, TOPIC_POST, LANE_STREAM_DATA]);
/** Room for the header and signature of a batch beside its records. */
export const BATCH_OVERHEAD_BYTES = 12 * 1024;
/** What stands in a header is bounded (names, channel, numbers, the terms of requests); more is somebody making us keep it. */
const MAX_HEADER_BYTES = 8 * 1024;

/** Encodes OpenLaneRequest or OpenLaneResponse (both: field 1) with a LaneFrame of another kind than these. */
export const encodeLaneFrame = (frame: Uint8Array): Buffer =>
  Buffer.concat([new FieldWriter().prefix(FRAME, frame.length).view(), frame]);

export function encodeBatchFrame({ header, signature, records, withheld = 0 }: SealedBatch): Buffer {
  const fields = new FieldWriter().bytes(1, header).bytes(2, signature).number(3, withheld);
  const batchLength = fields.length + records.bytes.length;
  const inner = new FieldWriter().prefix(BATCH, batchLength);
  const outer = new FieldWriter().prefix(FRAME, inner.length + batchLength);
  return Buffer.concat([outer.view(), inner.view(), fields.view(), records.bytes]);
}

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. */
export function openLaneFrame(bytes: Buffer): OpenedLaneFrame {
  const outer = new FieldReader(bytes);
  if (!outer.next() || outer.field !== FRAME || outer.wireType !== LENGTH_DELIMITED)
    throw malformed('it holds no lane frame');
  if (outer.end !== bytes.length) throw malformed('something stands behind the lane frame');
  const inner = new FieldReader(bytes, outer.start, outer.end);
  if (!inner.next()) throw malformed('the lane frame is empty');
  if (!OPAQUE.has(inner.field)) return { other: outer.content() };
  if (inner.wireType !== LENGTH_DELIMITED || inner.end !== outer.end)
    throw malformed('something stands behind what the lane frame holds');
  if (inner.field === FILE_DATA) return { fileData: readFileData(new FieldReader(bytes, inner.start, inner.end)) };
  if (inner.field === TOPIC_POST) return { topicPost: readTopicPost(new FieldReader(bytes, inner.start, inner.end)) };
  if (inner.field === LANE_STREAM_DATA)
    return { streamData: readLaneStreamData(new FieldReader(bytes, inner.start, inner.end)) };
  return { batch: readBatch(bytes, inner.start, inner.end) };
}

function readBatch(bytes: Buffer, start: number, end: number): SealedBatch {
  if (end - start > MAX_FRAME_BYTES + BATCH_OVERHEAD_BYTES) throw tooLarge('the batch is over the limit');
  const reader = new FieldReader(bytes, start, end);
  const records = new RecordCollector();
  let header: Buffer | undefined;
  let signature: Buffer | undefined;
  let withheld: number | undefined;
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) records.take(reader);
    else if (reader.field === 1 && reader.wireType === LENGTH_DELIMITED) header = reader.content();
    else if (reader.field === 2 && reader.wireType === LENGTH_DELIMITED) signature = reader.content();
    else if (reader.field === 3 && reader.wireType === VARINT && reader.value > 0) withheld = reader.value;
    else throw malformed(`field ${reader.field} of the batch is not known`);
  }
  if (!header || !signature) throw malformed('the batch has no header or no signature');
  if (header.length > MAX_HEADER_BYTES)
    throw tooLarge(`the header of the batch has more than ${MAX_HEADER_BYTES} bytes`);
  if (withheld === undefined) return { header, signature, records: records.finish() };
  if (!records.empty) throw malformed('the batch has records and says that they are held back');
  return { header, signature, records: EMPTY_BLOCK, withheld };
}
