import type { StoredAnswer } from '../../../gen/ts/fedgate/federation/v1/stored_request.js';
import { FedgateError, isReason, type Reason } from '../../errors.js';
import { parseNodeName } from '../../identity/names.js';
import { malformed } from '../../wire/reader.js';
import { blockOf, type RecordBlock, tooLarge } from '../../wire/records.js';
import { checkApplicationError } from '../application-error.js';
import type { Answered, Said } from '../types.js';
import { MAX_FAILURE_CHARACTERS, MAX_STORED_RECORD_BYTES } from './terms.js';

export type Outcome = NonNullable<StoredAnswer['outcome']>;

/** What a responder said, as it is stored; a reply that is too large is none. */
export function outcomeOf(answer: Said): Outcome {
  if (answer.kind === 'error') return { $case: 'error', value: answer.error };
  const { bytes } = answer.record;
  if (bytes.length <= MAX_STORED_RECORD_BYTES) return { $case: 'records', value: bytes };
  const message = `the reply has ${bytes.length} bytes, and ${MAX_STORED_RECORD_BYTES} can be stored`;
  return failure(new FedgateError('FRAME_TOO_LARGE', message));
}

export const failure = ({ reason, message }: { readonly reason: Reason; readonly message: string }): Outcome => ({
  $case: 'failure',
  value: { reason, message: message.slice(0, MAX_FAILURE_CHARACTERS) },
});

export const answerOf = (
  id: Buffer,
  outcome: Outcome,
  { node, attempts }: Pick<Answered, 'node' | 'attempts'>,
): StoredAnswer => ({
  ...{ id, node, attempts, outcome },
});

/** One record that may be stored. Throws FRAME_MALFORMED, FRAME_TOO_LARGE. */
export function checkedRecord(bytes: Uint8Array): RecordBlock {
  if (bytes.length > MAX_STORED_RECORD_BYTES)
    throw tooLarge(`a record of ${bytes.length} bytes: ${MAX_STORED_RECORD_BYTES} can be stored`);
  const block = blockOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (block.count !== 1) throw malformed('one record');
  return block;
}

/** What another gateway answered, as far as it is to be believed. What is no answer is a failure that says so. */
export function judged(answer: StoredAnswer, org: string): StoredAnswer {
  const { outcome } = answer;
  try {
    if (!outcome) throw malformed('an answer');
    if (outcome.$case === 'failure') {
      const { reason, message } = outcome.value;
      const known = isReason(reason) && reason !== 'APPLICATION_ERROR' ? reason : 'OUTCOME_UNKNOWN';
      return { ...answer, node: '', outcome: failure({ reason: known, message }) };
    }
    parseNodeName(answer.node, 'node');
    if (outcome.$case === 'records') checkedRecord(outcome.value);
    else checkApplicationError(outcome.value, 'error');
    return answer;
  } catch {
    const why = { reason: 'OUTCOME_UNKNOWN', message: `${org} answered what is no answer` } as const;
    return { ...answer, node: '', outcome: failure(why) };
  }
}
