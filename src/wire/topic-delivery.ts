import { TopicPlace } from '../../gen/ts/fedgate/messaging/v1/topic_service.js';
import { FieldReader, type Filling, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { MAX_FRAME_BYTES, RECORDS_FIELD, type RecordBlock, RecordCollector, tooLarge } from './records.js';
import { FieldWriter } from './writer.js';

/** The opaque forms of the frames of `TopicService`. Field numbers are those of topic_service.proto. */

export interface PublishTopicFrame {
  readonly topic: string;
  readonly ttlMs: number;
  readonly records: RecordBlock;
}

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. An unknown field is refused: a gateway must not promise what it cannot read. */
export function readPublishTopic(bytes: Buffer): PublishTopicFrame {
  if (bytes.length > MAX_FRAME_BYTES) throw tooLarge(`the frame has more than ${MAX_FRAME_BYTES} bytes`);
  const reader = new FieldReader(bytes);
  const records = new RecordCollector();
  let topic = '';
  let ttlMs = 0;
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) records.take(reader);
    else if (reader.field === 1 && reader.wireType === LENGTH_DELIMITED) topic = reader.text();
    else if (reader.field === 2 && reader.wireType === VARINT) ttlMs = reader.value;
    else throw malformed(`field ${reader.field} is not known`);
  }
  return { topic, ttlMs, records: records.finish() };
}

/** Whose records these are. */
export interface TopicOrigin {
  readonly org: string;
  readonly gateway: string;
  readonly epoch: bigint;
  /** The number of the first record. */
  readonly sequence: number;
  readonly node: string;
  readonly timeMs: number;
}

/** Encodes a SubscribeTopicResponse that carries records. */
export function encodeTopicDelivery(origin: TopicOrigin, records: RecordBlock): Buffer {
  const { org, gateway, epoch, sequence, node, timeMs } = origin;
  const place = new FieldWriter().text(1, org).text(2, gateway).raw(epochField(epoch)).number(4, sequence);
  const fields = new FieldWriter().bytes(1, place.view()).text(2, node).number(3, timeMs);
  return Buffer.concat([fields.view(), records.bytes]);
}

/** Epochs have 64 bits, more than a number holds. */
function epochField(epoch: bigint): Buffer {
  const bytes = [3 * 8];
  let rest = epoch;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** One response of a subscription, as the SDK reads it: the notice and the records still encoded. */
export interface TopicFrame extends TopicOrigin {
  readonly notice: Buffer | undefined;
  readonly bytes: Buffer;
  readonly recordsStart: number;
}

/** Throws FRAME_MALFORMED. */
export function readTopicDelivery(bytes: Buffer): TopicFrame {
  const reader = new FieldReader(bytes);
  const frame: Filling<TopicFrame> = {
    org: '',
    gateway: '',
    epoch: 0n,
    sequence: 0,
    node: '',
    timeMs: 0,
    notice: undefined,
    bytes,
    recordsStart: bytes.length,
  };
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) {
      frame.recordsStart = reader.tagStart;
      break;
    }
    if (reader.field === 1) readPlace(reader.content(), frame);
    else if (reader.field === 2) frame.node = reader.text();
    else if (reader.field === 3) frame.timeMs = reader.value;
    else if (reader.field === 4) frame.notice = reader.content();
  }
  return frame;
}

function readPlace(bytes: Buffer, origin: { org: string; gateway: string; epoch: bigint; sequence: number }): void {
  const { org, gateway, epoch, sequence } = TopicPlace.decode(bytes);
  origin.org = org;
  origin.gateway = gateway;
  origin.epoch = epoch;
  origin.sequence = Number(sequence);
}
