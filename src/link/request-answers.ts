import type { ReplyTerms } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { ApplicationError, SurveySummary } from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import { Status } from '../../gen/ts/google/rpc/status.js';
import { FedgateError } from '../errors.js';
import { parseNodeName } from '../identity/names.js';
import { checkApplicationError } from '../requests/application-error.js';
import { type Answer, MAX_MISSING_NAMED, type SurveyEnd, type Why } from '../requests/types.js';
import { toRpcStatus } from '../transport/status.js';
import { malformed } from '../wire/reader.js';
import { RecordEncoder, readRecords } from '../wire/record-codec.js';
import type { RecordBlock } from '../wire/records.js';
import { refusalOf } from './batch-sender.js';
import type { WireAnswer } from './link-requests.js';

/** How answers stand in a batch: beside each record what it is, and in the record the reply or, encoded, what there is instead. */

const KIND = { reply: 1, applicationError: 2, refused: 3, surveyEnd: 4, handed: 5 } as const satisfies Record<
  string,
  ReplyTerms['kind']
>;
const WHY: readonly (Why | undefined)[] = [undefined, 'no answer', 'gone', 'busy'];

export function wireAnswer(answer: Answer): WireAnswer {
  if (answer.kind === 'failed') return wireRefusal(answer.error, answer.attempts);
  const { node, attempts, duplicate } = answer;
  if (answer.kind === 'handed')
    return { kind: KIND.handed, node, attempts, duplicate, record: holding(Buffer.alloc(0)) };
  return answer.kind === 'reply'
    ? { kind: KIND.reply, node, attempts, duplicate, record: answer.record }
    : {
        kind: KIND.applicationError,
        node,
        attempts,
        duplicate,
        record: holding(ApplicationError.encode(answer.error).finish()),
      };
}

export function wireRefusal(thrown: unknown, attempts = 0): WireAnswer {
  const error =
    thrown instanceof FedgateError ? thrown : new FedgateError('INTERNAL', 'internal error', { cause: thrown });
  const record = holding(Status.encode(toRpcStatus(error)).finish());
  return { kind: KIND.refused, node: '', attempts, duplicate: false, record };
}

export function wireSurveyEnd(end: SurveyEnd): WireAnswer {
  const record = holding(SurveySummary.encode(toSummary(end)).finish());
  return { kind: KIND.surveyEnd, node: '', attempts: 0, duplicate: false, record };
}

/** What a peer's answer says. Throws FRAME_MALFORMED, FIELD_INVALID. */
export function readAnswer(terms: ReplyTerms, record: RecordBlock, org: string): Answer {
  const { kind, node, duplicate } = terms;
  const attempts = Math.max(terms.attempts, 1);
  if (kind === KIND.refused) {
    const error = refusalOf(decoded(Status.decode, record), org);
    // Only a responder has errors of its own.
    const known = error.reason !== 'APPLICATION_ERROR';
    return {
      kind: 'failed',
      error: known ? error : new FedgateError('OUTCOME_UNKNOWN', error.message),
      attempts: terms.attempts,
    };
  }
  parseNodeName(node, 'node');
  if (kind === KIND.handed) return { kind: 'handed', node, attempts, duplicate: false };
  if (kind === KIND.reply) return { kind: 'reply', record, node, attempts, duplicate };
  const error = checkApplicationError(decoded(ApplicationError.decode, record), 'error');
  return { kind: 'error', error, node, attempts, duplicate };
}

/** Throws FRAME_MALFORMED, FIELD_INVALID. */
export function readSurveyEnd(record: RecordBlock, org: string): SurveyEnd {
  const { asked, answered, missing } = decoded(SurveySummary.decode, record);
  if (missing.length > MAX_MISSING_NAMED) throw malformed('the end of a survey');
  // Whatever organisation it names: those that it can speak of are its own nodes.
  const named = missing.map(({ node, why }) => ({
    org,
    node: parseNodeName(node, 'node'),
    why: WHY[why] ?? 'no answer',
  }));
  return { asked, answered, missing: named };
}

export const toSummary = ({ asked, answered, missing, orgs = [] }: SurveyEnd): SurveySummary => ({
  asked,
  answered,
  missing: missing.map(({ org, node, why }) => ({ org, node, why: WHY.indexOf(why) as 1 | 2 | 3 })),
  orgs: orgs.map(({ error, early, ...counts }) => ({
    ...counts,
    error: error && toRpcStatus(error),
    endedEarly: early,
  })),
});

/** One record with this payload, and nothing else. */
function holding(payload: Uint8Array): RecordBlock {
  const encoder = new RecordEncoder(payload.length + 64, 0);
  encoder.add({ payload }, 0);
  const { bytes, start, end } = encoder.finish();
  return { bytes: bytes.subarray(start, end), count: 1 };
}

function decoded<T>(decode: (bytes: Uint8Array) => T, block: RecordBlock): T {
  try {
    const [record] = readRecords(block);
    return decode(record?.payload ?? Buffer.alloc(0));
  } catch {
    throw malformed('what stands in an answer');
  }
}
