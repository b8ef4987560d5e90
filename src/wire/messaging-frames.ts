import { FieldReader, type Filling, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { EMPTY_BLOCK, MAX_FRAME_BYTES, RECORDS_FIELD, type RecordBlock, RecordCollector, tooLarge } from './records.js';
import { FieldWriter } from './writer.js';

/** The opaque forms of the frames of `fedgate.messaging.v1`. Field numbers are those of messaging_service.proto. */

export interface PublishFrame {
  /** 0 in a unary call. */
  readonly frameId: number;
  readonly address: string;
  readonly patienceMs: number;
  /** Numbers of `Delivery` and `AckLevel`. */
  readonly delivery: number;
  readonly ack: number;
  readonly ackTimeoutMs: number;
  readonly ttlMs: number;
  readonly dedupeId: string;
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly producerSequence: number;
  readonly records: RecordBlock;
}

type PublishField = Exclude<keyof PublishFrame, 'records'>;
/** The fields of the two requests by number. A text is length-delimited, all else a varint. */
const UNARY_FIELDS: readonly (PublishField | undefined)[] = [
  undefined,
  'address',
  'patienceMs',
  'delivery',
  'ack',
  'ackTimeoutMs',
  'ttlMs',
  'dedupeId',
  'producerId',
  'producerEpoch',
  'producerSequence',
];
const STREAM_FIELDS: readonly (PublishField | undefined)[] = [undefined, 'frameId', ...UNARY_FIELDS.slice(1)];
const TEXTS: ReadonlySet<PublishField | undefined> = new Set(['address', 'dedupeId', 'producerId']);

export const readPublishRequest = (bytes: Buffer): PublishFrame => readPublish(bytes, UNARY_FIELDS);
export const readPublishStreamRequest = (bytes: Buffer): PublishFrame => readPublish(bytes, STREAM_FIELDS);

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. An unknown field is refused: a gateway must not promise what it cannot read. */
function readPublish(bytes: Buffer, fields: typeof UNARY_FIELDS): PublishFrame {
  if (bytes.length > MAX_FRAME_BYTES) throw tooLarge(`the frame has more than ${MAX_FRAME_BYTES} bytes`);
  const reader = new FieldReader(bytes);
  const records = new RecordCollector();
  const frame: Filling<PublishFrame> = {
    frameId: 0,
    address: '',
    patienceMs: 0,
    delivery: 0,
    ack: 0,
    ackTimeoutMs: 0,
    ttlMs: 0,
    dedupeId: '',
    producerId: '',
    producerEpoch: 0,
    producerSequence: 0,
    records: EMPTY_BLOCK,
  };
  const values: Record<PublishField, string | number> = frame;
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) {
      records.take(reader);
      continue;
    }
    const field = fields[reader.field];
    const isText = TEXTS.has(field);
    if (field === undefined || reader.wireType !== (isText ? LENGTH_DELIMITED : VARINT))
      throw malformed(`field ${reader.field} is not known`);
    values[field] = isText ? reader.text() : reader.value;
  }
  frame.records = records.finish();
  return frame;
}

/** Where records came from. */
export interface Origin {
  readonly channel: string;
  readonly senderOrg: string;
  readonly senderNode: string;
}

/** Encodes a SubscribeResponse that carries records; once for all subscribers. */
export function encodeDelivery({ channel, senderOrg, senderNode }: Origin, records: RecordBlock): Buffer {
  const header = new FieldWriter().text(1, channel).text(2, senderOrg).text(3, senderNode);
  return Buffer.concat([header.view(), records.bytes]);
}

/** Where records of a durable subscription stand. */
export interface Placed extends Origin {
  /** The offset of the first record. */
  readonly offset: number;
  readonly deliveryCount: number;
  readonly storedMs: number;
}

/** Encodes a ConsumeResponse that carries records. */
export function encodePlaced(placed: Placed, records: RecordBlock): Buffer {
  const header = new FieldWriter()
    .text(1, placed.channel)
    .text(2, placed.senderOrg)
    .text(3, placed.senderNode)
    .number(5, placed.offset)
    .number(6, placed.deliveryCount)
    .number(7, placed.storedMs);
  return Buffer.concat([header.view(), records.bytes]);
}

/** One response of a durable subscription, as the SDK reads it: the notice and the records still encoded. */
export interface PlacedFrame extends Placed {
  readonly notice: Buffer | undefined;
  readonly bytes: Buffer;
  readonly recordsStart: number;
}

export function readPlaced(bytes: Buffer): PlacedFrame {
  const reader = new FieldReader(bytes);
  const placed: Filling<PlacedFrame> = {
    channel: '',
    senderOrg: '',
    senderNode: '',
    offset: 0,
    deliveryCount: 0,
    storedMs: 0,
    notice: undefined,
    bytes,
    recordsStart: bytes.length,
  };
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) {
      placed.recordsStart = reader.tagStart;
      break;
    }
    if (reader.field === 1) placed.channel = reader.text();
    else if (reader.field === 2) placed.senderOrg = reader.text();
    else if (reader.field === 3) placed.senderNode = reader.text();
    else if (reader.field === 4) placed.notice = reader.content();
    else if (reader.field === 5) placed.offset = reader.value;
    else if (reader.field === 6) placed.deliveryCount = reader.value;
    else if (reader.field === 7) placed.storedMs = reader.value;
  }
  return placed;
}

/** One response of a subscription, as the SDK reads it: the notice and the records still encoded. */
export interface DeliveryFrame extends Origin {
  readonly notice: Buffer | undefined;
  readonly bytes: Buffer;
  /** Where the first entry of field 15 begins. Entries from there on are contiguous. */
  readonly recordsStart: number;
}

export function readDelivery(bytes: Buffer): DeliveryFrame {
  const reader = new FieldReader(bytes);
  const delivery: Filling<DeliveryFrame> = {
    channel: '',
    senderOrg: '',
    senderNode: '',
    notice: undefined,
    bytes,
    recordsStart: bytes.length,
  };
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) {
      delivery.recordsStart = reader.tagStart;
      break;
    }
    if (reader.field === 1) delivery.channel = reader.text();
    else if (reader.field === 2) delivery.senderOrg = reader.text();
    else if (reader.field === 3) delivery.senderNode = reader.text();
    else if (reader.field === 4) delivery.notice = reader.content();
  }
  return delivery;
}
