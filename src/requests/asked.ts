import type { FedgateError } from '../errors.js';
import type { RecordBlock } from '../wire/records.js';
import type { Answer, SurveyEnd } from './types.js';

/** Something that is asked of another organisation. */
export interface Asked {
  readonly channel: string;
  readonly senderNode: string;
  /** One record. */
  readonly record: RecordBlock;
  /** When its time is over, as the peer is told, by the monotonic clock, milliseconds. */
  readonly answerByMs: number;
  /** From when on no answer counts. */
  readonly dueMs: number;
  readonly once: boolean;
  readonly key: string;
  readonly survey: boolean;
  readonly maxAnswers: number;
  /** It is answered by who got it, and nothing more. */
  readonly oneWay: boolean;
  /** An answer came. The last one, unless it is a survey. */
  answer(answer: Answer): void;
  /** The survey is over. */
  end(end: SurveyEnd): void;
  /** It was refused, or nobody knows what became of it. */
  fail(error: FedgateError): void;
}
