import { FieldReader, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { tooLarge } from './records.js';
import { FieldWriter } from './writer.js';

/**
 * Frames of byte streams: what an end, or a gateway on the way, says of one direction. Field numbers are those of stream_service.proto, where
 * OpenStreamRequest and OpenStreamResponse share them, and of federation_service.proto.
 */

export interface StreamData {
  readonly kind: 'data';
  /** How many bytes of this direction came before. */
  readonly offset: number;
  /** 1 byte to 256 KiB; when it was received, a view of the frame. */
  readonly data: Buffer;
}

export interface StreamEnd {
  readonly kind: 'end';
  readonly offset: number;
}

export interface StreamFrom {
  readonly kind: 'from';
  readonly round: number;
  readonly offset: number;
}

export interface StreamAsk {
  readonly kind: 'ask';
}

export interface StreamCredit {
  readonly kind: 'credit';
  readonly limit: number;
  readonly received: number;
  readonly ended: boolean;
  /** 0: none, what is on its way counts on. */
  readonly round: number;
}

/** What goes with the bytes of a direction, in order. */
export type ForwardFrame = StreamData | StreamEnd | StreamFrom | StreamAsk;
/** All but what ends a stream. */
export type StreamFrame = ForwardFrame | StreamCredit;

/** The most bytes that one frame may hold. */
export const MAX_STREAM_DATA_BYTES = 256 * 1024;

/** Field numbers in OpenStreamRequest and OpenStreamResponse. */
const NODE = { ask: 4, data: 5, credit: 6, end: 7, from: 8 } as const;
/** In LaneFrame. */
const LANE = { data: 24, credit: 25, end: 26, from: 27, ask: 29 } as const;
export const LANE_STREAM_DATA = LANE.data;
const LANE_FRAME = 1;

const fields = new FieldWriter();
const inner = new FieldWriter();
const outer = new FieldWriter();

/** Writes the fields of a frame behind `first`, the number of its first one; those of data without the data itself. */
function writeFields(frame: StreamFrame, first: number): void {
  if (frame.kind === 'data') fields.number(first, frame.offset).prefix(first + 1, frame.data.length);
  else if (frame.kind === 'end') fields.number(first, frame.offset);
  else if (frame.kind === 'from') fields.number(first, frame.round).number(first + 1, frame.offset);
  else if (frame.kind === 'credit')
    fields
      .number(first, frame.limit)
      .number(first + 1, frame.received)
      .number(first + 2, frame.ended ? 1 : 0)
      .number(first + 3, frame.round);
}

/** OpenStreamRequest or OpenStreamResponse. The bytes of data are copied once. */
export function encodeNodeStreamFrame(frame: StreamFrame): Buffer {
  fields.reset();
  writeFields(frame, 1);
  if (frame.kind !== 'data')
    return Buffer.concat([outer.reset().prefix(NODE[frame.kind], fields.length).view(), fields.view()]);
  const { data } = frame;
  outer.reset().prefix(NODE.data, fields.length + data.length);
  return Buffer.concat([outer.view(), fields.view(), data], outer.length + fields.length + data.length);
}

/** OpenLaneRequest or OpenLaneResponse with the frame of one stream in it. The bytes of data are copied once. */
export function encodeLaneStreamFrame(id: number, frame: StreamFrame): Buffer {
  fields.reset().number(1, id);
  writeFields(frame, 2);
  const more = frame.kind === 'data' ? frame.data.length : 0;
  inner.reset().prefix(LANE[frame.kind], fields.length + more);
  outer.reset().prefix(LANE_FRAME, inner.length + fields.length + more);
  const head = [outer.view(), inner.view(), fields.view()];
  return Buffer.concat(
    frame.kind === 'data' ? [...head, frame.data] : head,
    outer.length + inner.length + fields.length + more,
  );
}

/** The data in OpenStreamRequest or OpenStreamResponse; undefined: it holds something else. Throws FRAME_MALFORMED, FRAME_TOO_LARGE. */
export function readNodeStreamData(bytes: Buffer): StreamData | undefined {
  const reader = new FieldReader(bytes);
  if (!reader.next() || reader.field !== NODE.data) return undefined;
  if (reader.wireType !== LENGTH_DELIMITED || reader.end !== bytes.length)
    throw malformed('something stands behind the stream data');
  return readData(new FieldReader(bytes, reader.start, reader.end), 1).frame;
}

/** Data of a stream on a link. */
export interface LaneStreamData {
  readonly id: number;
  readonly frame: StreamData;
}

/** Reads a LaneStreamData whose fields `reader` stands before. Its data is a view. Throws FRAME_MALFORMED, FRAME_TOO_LARGE. */
export const readLaneStreamData = (reader: FieldReader): LaneStreamData => readData(reader, 2);

function readData(reader: FieldReader, first: number): LaneStreamData {
  let [id, offset] = [0, 0];
  let data: Buffer | undefined;
  while (reader.next()) {
    const { field, wireType } = reader;
    if (field === first + 1 && wireType === LENGTH_DELIMITED && !data) data = reader.content();
    else if (field === first && wireType === VARINT) offset = reader.value;
    else if (field === first - 1 && wireType === VARINT) id = reader.value;
    else throw malformed(`field ${field} of the stream data is not known`);
  }
  if (!data || data.length === 0) throw malformed('the stream data is empty');
  if (data.length > MAX_STREAM_DATA_BYTES) throw tooLarge('the stream data is over the limit');
  return { id, frame: { kind: 'data', offset, data } };
}
