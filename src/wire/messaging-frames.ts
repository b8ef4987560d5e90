import { FieldReader, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { MAX_FRAME_BYTES, RECORDS_FIELD, type RecordBlock, RecordCollector, tooLarge } from './records.js';
import { FieldWriter } from './writer.js';

/** The opaque forms of the frames of `fedgate.messaging.v1`. Field numbers are those of messaging_service.proto. */

export interface PublishFrame {
  /** 0 in a unary call. */
  readonly frameId: number;
  readonly address: string;
  readonly patienceMs: number;
  readonly records: RecordBlock;
}

const UNARY_FIELDS = { address: 1, patienceMs: 2, frameId: -1 };
const STREAM_FIELDS = { frameId: 1, address: 2, patienceMs: 3 };

export const readPublishRequest = (bytes: Buffer): PublishFrame => readPublish(bytes, UNARY_FIELDS);
export const readPublishStreamRequest = (bytes: Buffer): PublishFrame => readPublish(bytes, STREAM_FIELDS);

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. An unknown field is refused: a gateway must not promise what it cannot read. */
function readPublish(bytes: Buffer, fields: typeof UNARY_FIELDS): PublishFrame {
  if (bytes.length > MAX_FRAME_BYTES) throw tooLarge(`the frame has more than ${MAX_FRAME_BYTES} bytes`);
  const reader = new FieldReader(bytes);
  const records = new RecordCollector();
  let frameId = 0;
  let address = '';
  let patienceMs = 0;
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) records.take(reader);
    else if (reader.field === fields.address && reader.wireType === LENGTH_DELIMITED) address = reader.text();
    else if (reader.field === fields.patienceMs && reader.wireType === VARINT) patienceMs = reader.value;
    else if (reader.field === fields.frameId && reader.wireType === VARINT) frameId = reader.value;
    else throw malformed(`field ${reader.field} is not known`);
  }
  return { frameId, address, patienceMs, records: records.finish() };
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

/** One response of a subscription, as the SDK reads it: the notice and the records still encoded. */
export interface DeliveryFrame extends Origin {
  readonly notice: Buffer | undefined;
  readonly bytes: Buffer;
  /** Where the first entry of field 15 begins. Entries from there on are contiguous. */
  readonly recordsStart: number;
}

export function readDelivery(bytes: Buffer): DeliveryFrame {
  const reader = new FieldReader(bytes);
  const origin = { channel: '', senderOrg: '', senderNode: '' };
  let notice: Buffer | undefined;
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) return { ...origin, notice, bytes, recordsStart: reader.tagStart };
    if (reader.field === 1) origin.channel = reader.text();
    else if (reader.field === 2) origin.senderOrg = reader.text();
    else if (reader.field === 3) origin.senderNode = reader.text();
    else if (reader.field === 4) notice = reader.content();
  }
  return { ...origin, notice, bytes, recordsStart: bytes.length };
}
