import {
  RequestServiceService,
  SurveyResponse,
  type SurveySummary as WireSummary,
} from '../../../gen/ts/fedgate/messaging/v1/request_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { callServerStream } from '../../transport/client-calls.js';
import { fromRpcStatus } from '../../transport/status.js';
import { readSurveyAnswer } from '../../wire/request-frames.js';
import { FieldWriter } from '../../wire/writer.js';
import { checkAddress } from '../checks.js';
import { Deferred } from '../deferred.js';
import type { SubscriptionHost } from '../subscription.js';
import { checkTimeout, fateOf } from './asker.js';
import { encodeContent } from './content.js';
import { type Content, Reply, RequestError, type SurveyOptions } from './types.js';

/** What one responder said: a reply, or its own error. */
export interface SurveyAnswer {
  readonly org: string;
  readonly node: string;
  readonly reply?: Reply;
  readonly error?: RequestError;
}

/** How a survey ended. */
export interface SurveySummary {
  readonly asked: number;
  readonly answered: number;
  /** Who did not answer. `no answer`: not before the survey ended; `gone`: it went away; `busy`: it had no room and was not asked. */
  readonly missing: readonly {
    readonly org: string;
    readonly node: string;
    readonly why: 'no answer' | 'gone' | 'busy';
  }[];
  /** Of several organisations: what became of it in each. */
  readonly orgs?: readonly SurveyedOrg[];
}

/** How a survey ended in one of several organisations. */
export interface SurveyedOrg {
  readonly org: string;
  readonly asked: number;
  readonly answered: number;
  /** Why nothing, or nothing more, is known of it: NO_RESPONDERS, NOT_GRANTED, PEER_UNREACHABLE … */
  readonly error?: FedgateError;
  /** There were enough answers before it had told how it ended. */
  readonly early?: true;
}

/** Answers as they come. Iterate it once; leaving the loop ends the survey. */
export interface Survey extends AsyncIterable<SurveyAnswer> {
  /** Resolves once the iteration has come to its end; rejects when it failed or was left. */
  readonly summary: Promise<SurveySummary>;
}

const WHY = ['no answer', 'no answer', 'gone', 'busy'] as const;
const same = (bytes: Buffer): Buffer => bytes;

/** See FedgateClient.survey. Throws FIELD_INVALID, FRAME_TOO_LARGE. */
export function survey(host: SubscriptionHost, address: string, content: Content, options: SurveyOptions): Survey {
  const { timeoutMs = 5_000, maxAnswers = 0, headers, contentType, signal } = options;
  const problem = checkAddress(address);
  if (problem) throw problem;
  checkTimeout(timeoutMs);
  if (!Number.isInteger(maxAnswers) || maxAnswers < 0 || maxAnswers > 10_000)
    throw fieldError('maxAnswers', 'must be a whole number from 0 to 10000');
  const head = new FieldWriter().text(1, address).number(2, timeoutMs).number(3, maxAnswers);
  const request = Buffer.concat([head.view(), encodeContent(content, { headers, contentType })]);
  const summary = new Deferred<SurveySummary>();
  return {
    summary: summary.promise,
    [Symbol.asyncIterator]: () => answers(host, request, summary, signal ?? new AbortController().signal),
  };
}

async function* answers(
  host: SubscriptionHost,
  request: Buffer,
  summary: Deferred<SurveySummary>,
  signal: AbortSignal,
): AsyncGenerator<SurveyAnswer> {
  try {
    const { path } = RequestServiceService.survey;
    const method = { path, requestSerialize: same, responseDeserialize: same };
    for await (const bytes of callServerStream(host.channel(), method, request, signal)) {
      const answer = readAnswer(bytes);
      if (answer) yield answer;
      else summary.resolve(readSummary(bytes));
    }
  } catch (error) {
    const failure = fateOf(error);
    summary.reject(failure);
    throw failure;
  } finally {
    // Nothing happens to one that is resolved.
    summary.reject(new FedgateError('CANCELLED', 'the survey was left'));
  }
}

function readAnswer(bytes: Buffer): SurveyAnswer | undefined {
  const reply = readSurveyAnswer(bytes);
  if (reply) {
    const { org, node, start, end } = reply;
    return { org, node, reply: new Reply(bytes, start, end, { org, node, attempts: 1, duplicate: false }) };
  }
  const { event } = SurveyResponse.decode(bytes);
  if (event?.$case !== 'answer') return undefined;
  const { org, node, error } = event.value;
  const { code = '', message = '', details = new Uint8Array(0) } = error ?? {};
  return { org, node, error: new RequestError(code, message, { details, org, node }) };
}

const toOrg = ({ org, asked, answered, error, endedEarly }: WireSummary['orgs'][number]): SurveyedOrg => ({
  ...{ org, asked, answered },
  ...(error ? { error: fromRpcStatus(error) } : {}),
  ...(endedEarly ? { early: true } : {}),
});

function readSummary(bytes: Buffer): SurveySummary {
  const { event } = SurveyResponse.decode(bytes);
  if (event?.$case !== 'summary') throw new FedgateError('FRAME_MALFORMED', 'the gateway sent what is no answer');
  const { asked, answered, missing, orgs }: WireSummary = event.value;
  return {
    asked,
    answered,
    missing: missing.map(({ org, node, why }) => ({ org, node, why: WHY[why] ?? 'no answer' })),
    ...(orgs.length > 0 ? { orgs: orgs.map(toOrg) } : {}),
  };
}
