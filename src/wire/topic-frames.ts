import { type FieldReader, LENGTH_DELIMITED, malformed } from './reader.js';
import { RECORDS_FIELD, type RecordBlock, RecordCollector, tooLarge } from './records.js';
import { FieldWriter } from './writer.js';

/** A post of a topic as it travels: `TopicPost` of federation_service.proto, with its records still encoded. */
export interface SealedPost {
  readonly header: Buffer;
  readonly signature: Buffer;
  /** The author's certificate, DER. Undefined: it was told before. */
  readonly certificate?: Buffer | undefined;
  readonly records: RecordBlock;
}

/** Field numbers of the frame in LaneFrame, and of LaneFrame in OpenLaneRequest and OpenLaneResponse. */
export const TOPIC_POST = 32;
const FRAME = 1;
/** The most records of one post. */
export const MAX_POST_RECORDS = 4096;
/** The most bytes that the records of one post may have, encoded. */
export const MAX_POST_BYTES = 1024 * 1024;
/** What stands in a header is bounded: names, a topic, numbers and digests. */
export const MAX_POST_HEADER_BYTES = 2048;
/** Certificates of gateways have about 600 bytes. */
export const MAX_CERTIFICATE_BYTES = 8 * 1024;
const MAX_SIGNATURE_BYTES = 128;

/** Encodes OpenLaneRequest or OpenLaneResponse with the post in it. */
export function encodeTopicPost({ header, signature, certificate, records }: SealedPost): Buffer {
  const fields = new FieldWriter().bytes(1, header).bytes(2, signature);
  if (certificate) fields.bytes(3, certificate);
  const length = fields.length + records.bytes.length;
  const inner = new FieldWriter().prefix(TOPIC_POST, length);
  const outer = new FieldWriter().prefix(FRAME, inner.length + length);
  return Buffer.concat([outer.view(), inner.view(), fields.view(), records.bytes]);
}

/** Reads a TopicPost whose fields `reader` stands before. Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. */
export function readTopicPost(reader: FieldReader): SealedPost {
  const records = new RecordCollector();
  const parts: (Buffer | undefined)[] = [];
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) records.take(reader);
    else if (reader.field <= 3 && reader.wireType === LENGTH_DELIMITED && !parts[reader.field])
      parts[reader.field] = reader.content();
    else throw malformed(`field ${reader.field} of the post is not known`);
  }
  const [, header, signature, certificate] = parts;
  if (!header || !signature) throw malformed('the post has no header or no signature');
  checkSize(header, MAX_POST_HEADER_BYTES, 'header');
  checkSize(signature, MAX_SIGNATURE_BYTES, 'signature');
  if (certificate) checkSize(certificate, MAX_CERTIFICATE_BYTES, 'certificate');
  const block = records.finish();
  checkPostSize(block);
  return { header, signature, certificate, records: block };
}

/** Throws FRAME_TOO_LARGE. */
export function checkPostSize({ bytes, count }: RecordBlock): void {
  if (count > MAX_POST_RECORDS) throw tooLarge(`a post has more than ${MAX_POST_RECORDS} records`);
  if (bytes.length > MAX_POST_BYTES) throw tooLarge(`the records of a post have more than ${MAX_POST_BYTES} bytes`);
}

function checkSize(bytes: Buffer, most: number, what: string): void {
  if (bytes.length > most) throw tooLarge(`the ${what} of a post has more than ${most} bytes`);
}
