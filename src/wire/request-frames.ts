import { FieldReader, LENGTH_DELIMITED, malformed, VARINT } from './reader.js';
import { MAX_FRAME_BYTES, RECORDS_FIELD, type RecordBlock, RecordCollector, tooLarge } from './records.js';
import { FieldWriter } from './writer.js';

/** The opaque forms of the frames of request_service.proto: a gateway moves the record of a request, and never decodes it. */

export interface RequestFrame {
  readonly address: string;
  readonly timeoutMs: number;
  readonly key: string;
  readonly once: boolean;
  readonly oneWay: boolean;
  readonly record: RecordBlock;
}

export interface SurveyFrame {
  readonly address: string;
  readonly timeoutMs: number;
  readonly maxAnswers: number;
  readonly record: RecordBlock;
}

interface Fields {
  readonly numbers: ReadonlyMap<number, number>;
  readonly texts: ReadonlyMap<number, string>;
  readonly record: RecordBlock;
}

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. */
export function readRequestRequest(bytes: Buffer): RequestFrame {
  const { numbers, texts, record } = readFields(new FieldReader(bytes), [2, 4, 5], [1, 3]);
  return {
    address: texts.get(1) ?? '',
    timeoutMs: numbers.get(2) ?? 0,
    key: texts.get(3) ?? '',
    once: numbers.get(4) === 1,
    oneWay: numbers.get(5) === 1,
    record,
  };
}

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. */
export function readSurveyRequest(bytes: Buffer): SurveyFrame {
  const { numbers, texts, record } = readFields(new FieldReader(bytes), [2, 3], [1]);
  return { address: texts.get(1) ?? '', timeoutMs: numbers.get(2) ?? 0, maxAnswers: numbers.get(3) ?? 0, record };
}

export interface LaterFrame {
  readonly address: string;
  readonly expireAfterMs: number;
  readonly key: string;
  readonly record: RecordBlock;
}

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. */
export function readLaterRequest(bytes: Buffer): LaterFrame {
  const { numbers, texts, record } = readFields(new FieldReader(bytes), [2], [1, 3]);
  return { address: texts.get(1) ?? '', expireAfterMs: numbers.get(2) ?? 0, key: texts.get(3) ?? '', record };
}

/** A field that is not known is refused: a gateway must not promise what it cannot read. */
function readFields(reader: FieldReader, numberFields: readonly number[], textFields: readonly number[]): Fields {
  if (reader.bytes.length > MAX_FRAME_BYTES) throw tooLarge(`the frame has more than ${MAX_FRAME_BYTES} bytes`);
  const numbers = new Map<number, number>();
  const texts = new Map<number, string>();
  const records = new RecordCollector();
  while (reader.next()) {
    const { field, wireType } = reader;
    if (field === RECORDS_FIELD) records.take(reader);
    else if (wireType === VARINT && numberFields.includes(field)) numbers.set(field, reader.value);
    else if (wireType === LENGTH_DELIMITED && textFields.includes(field)) texts.set(field, reader.text());
    else throw malformed(`field ${field} is not known`);
  }
  const record = records.finish();
  if (record.count > 1) throw malformed('it has more than one record');
  return { numbers, texts, record };
}

export interface ReplyFacts {
  readonly org: string;
  readonly node: string;
  readonly attempts: number;
  readonly duplicate: boolean;
}

/** A RequestResponse; without a record when it says who got what is one-way. */
export function encodeRequestResponse(facts: ReplyFacts, record: RecordBlock | undefined): Buffer {
  const { org, node, attempts, duplicate } = facts;
  const head = new FieldWriter()
    .text(1, org)
    .text(2, node)
    .number(3, attempts)
    .number(4, duplicate ? 1 : 0);
  return Buffer.concat(record ? [head.view(), record.bytes] : [head.view()]);
}

/** RespondRequest.reply. */
export const REPLY = 4;

/** The number of a request and the record, of a RespondRequest that is a reply; undefined: it is another frame. Throws as readRequestRequest. */
export function readRespondReply(bytes: Buffer): { readonly id: number; readonly record: RecordBlock } | undefined {
  const outer = new FieldReader(bytes);
  if (!outer.next() || outer.field !== REPLY || outer.wireType !== LENGTH_DELIMITED) return undefined;
  if (outer.end !== bytes.length) throw malformed('something stands behind the reply');
  const { numbers, record } = readFields(new FieldReader(bytes, outer.start, outer.end), [1], []);
  return { id: numbers.get(1) ?? 0, record };
}

export interface DeliveryFacts {
  readonly id: number;
  readonly channel: string;
  readonly senderOrg: string;
  readonly senderNode: string;
  readonly timeoutMs: number;
  readonly attempt: number;
  readonly survey: boolean;
  readonly oneWay: boolean;
  /** Of a stored request: its id; empty: it is none. */
  readonly storedId: string;
}

/** RespondResponse.request. */
export const DELIVERY = 3;

/** A RespondResponse that is a request. */
export function encodeRespondDelivery(facts: DeliveryFacts, { bytes }: RecordBlock): Buffer {
  const head = new FieldWriter()
    .number(1, facts.id)
    .text(2, facts.channel)
    .text(3, facts.senderOrg)
    .text(4, facts.senderNode)
    .number(5, facts.timeoutMs)
    .number(6, facts.attempt)
    .number(7, facts.survey ? 1 : 0)
    .number(8, facts.oneWay ? 1 : 0)
    .text(9, facts.storedId);
  const outer = new FieldWriter().prefix(DELIVERY, head.length + bytes.length);
  return Buffer.concat([outer.view(), head.view(), bytes]);
}

/** SurveyResponse.answer. */
const ANSWER = 1;

/** A SurveyResponse that is an answer with a reply. */
export function encodeSurveyReply(org: string, node: string, { bytes }: RecordBlock): Buffer {
  const head = new FieldWriter().text(1, org).text(2, node);
  const outer = new FieldWriter().prefix(ANSWER, head.length + bytes.length);
  return Buffer.concat([outer.view(), head.view(), bytes]);
}

/** A RequestResponse: its facts, and where the entry of its record begins. */
export function readRequestResponse(bytes: Buffer): { readonly facts: ReplyFacts; readonly record: number } {
  const reader = new FieldReader(bytes);
  const facts = { org: '', node: '', attempts: 0, duplicate: false };
  let record = bytes.length;
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) record = reader.tagStart;
    else if (reader.field === 1) facts.org = reader.text();
    else if (reader.field === 2) facts.node = reader.text();
    else if (reader.field === 3) facts.attempts = reader.value;
    else if (reader.field === 4) facts.duplicate = reader.value === 1;
  }
  return { facts, record };
}

/** What a RespondResponse asks, and where its record begins and ends; undefined: it is another frame. */
export function readRespondDelivery(
  bytes: Buffer,
): { readonly facts: DeliveryFacts; readonly start: number; readonly end: number } | undefined {
  const outer = new FieldReader(bytes);
  if (!outer.next() || outer.field !== DELIVERY) return undefined;
  const reader = new FieldReader(bytes, outer.start, outer.end);
  const facts = {
    id: 0,
    channel: '',
    senderOrg: '',
    senderNode: '',
    timeoutMs: 0,
    attempt: 0,
    survey: false,
    oneWay: false,
    storedId: '',
  };
  let start = outer.end;
  let end = outer.end;
  while (reader.next()) {
    if (reader.field === RECORDS_FIELD) {
      start = reader.start;
      end = reader.end;
    } else if (reader.field === 1) facts.id = reader.value;
    else if (reader.field === 2) facts.channel = reader.text();
    else if (reader.field === 3) facts.senderOrg = reader.text();
    else if (reader.field === 4) facts.senderNode = reader.text();
    else if (reader.field === 5) facts.timeoutMs = reader.value;
    else if (reader.field === 6) facts.attempt = reader.value;
    else if (reader.field === 7) facts.survey = reader.value === 1;
    else if (reader.field === 8) facts.oneWay = reader.value === 1;
    else if (reader.field === 9) facts.storedId = reader.text();
  }
  return { facts, start, end };
}

/** A SurveyResponse that is an answer with a reply, and where its record begins and ends; undefined: it is another one. */
export function readSurveyAnswer(
  bytes: Buffer,
): { readonly org: string; readonly node: string; readonly start: number; readonly end: number } | undefined {
  const outer = new FieldReader(bytes);
  if (!outer.next() || outer.field !== ANSWER) return undefined;
  const reader = new FieldReader(bytes, outer.start, outer.end);
  const answer = { org: '', node: '', start: -1, end: -1 };
  while (reader.next()) {
    if (reader.field === 1) answer.org = reader.text();
    else if (reader.field === 2) answer.node = reader.text();
    else if (reader.field === 3) return undefined;
    else if (reader.field === RECORDS_FIELD) {
      answer.start = reader.start;
      answer.end = reader.end;
    }
  }
  return answer.start < 0 ? undefined : answer;
}
