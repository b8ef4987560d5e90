import { FedgateError, fieldError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import { type Address, parseAddress, parseDestination, type Several } from '../messaging/address.js';
import type { SeveralMember } from '../messaging/broadcast.js';
import type { Policy } from '../policy/types.js';
import type { RecordBlock } from '../wire/records.js';
import type { RequestFrame, SurveyFrame } from '../wire/request-frames.js';
import type { Asked } from './asked.js';
import type { Deadlines } from './deadlines.js';
import type { GiveUp, Here } from './here.js';
import type { Pending } from './pending.js';
import { RemoteRequest } from './remote-request.js';
import { SeveralSurvey, type SurveyListener } from './several-survey.js';
import type { SurveySink, SurveyTerms } from './survey.js';
import {
  type Answer,
  type Answered,
  DEFAULT_SURVEY_MS,
  DEFAULT_TIMEOUT_MS,
  MAX_SURVEYED,
  MAX_TIMEOUT_MS,
  type Said,
  type SurveyEnd,
} from './types.js';

export interface RequesterOptions {
  readonly org: OrgName;
  readonly access: Access;
  readonly here: Here;
  readonly deadlines: Deadlines;
  readonly pending: Pending;
  readonly policy: Policy;
  /** The way to other organisations, as Peers.ask. */
  readonly ask: (org: OrgName, asked: Asked) => GiveUp;
  /** Says more about why a peer is away. */
  readonly explain: (error: FedgateError) => FedgateError;
  /** The organisations of a destination of several, at this moment. Throws as PublisherOptions.membersOf. */
  readonly membersOf: (destination: Several) => readonly SeveralMember[];
}

/** A reply, and the organisation that gave it; without a record: who got what is one-way. */
export interface Reply extends Answered {
  readonly org: OrgName;
  readonly record?: RecordBlock | undefined;
}

const KEY = /^[\x21-\x7e]{1,64}$/;

/** Asks for the nodes of the own organisation: checks, then the own responders or the link. */
export class Requester {
  readonly #options: RequesterOptions;

  constructor(options: RequesterOptions) {
    this.#options = options;
  }

  /**
   * Resolves with the reply. `timeLeftMs` is how long the caller itself waits; `signal` says that it waits no more. Rejects with what the call
   * is to fail with: FIELD_INVALID, CHANNEL_RESERVED, NOT_GRANTED, ORG_UNKNOWN, ORG_INACTIVE, NO_RESPONDERS, RESPONDER_GONE, LIMIT_REACHED,
   * DEADLINE_EXCEEDED, APPLICATION_ERROR; of other organisations also PEER_UNREACHABLE, OUTCOME_UNKNOWN, FEATURE_UNSUPPORTED.
   */
  request(node: string, frame: RequestFrame, timeLeftMs: number, signal: AbortSignal): Promise<Reply> {
    const { record, key, oneWay } = frame;
    if (key && !KEY.test(key)) throw fieldError('idempotency_key', 'must be up to 64 of the characters 0x21 to 0x7e');
    if (key && oneWay) throw fieldError('idempotency_key', 'is for a reply, and what is one-way gets none');
    const address = this.#address(node, frame.address);
    const dueMs = dueOf(frame.timeoutMs, DEFAULT_TIMEOUT_MS, timeLeftMs);
    const verdict = this.#policy(node, address, record);
    const ask = (): Promise<Reply> => this.#ask(node, address, frame, dueMs, signal);
    return verdict instanceof Promise ? verdict.then(ask) : ask();
  }

  #ask(node: string, address: Address, frame: RequestFrame, dueMs: number, signal: AbortSignal): Promise<Reply> {
    const { org, here } = this.#options;
    const { record, once, key, oneWay } = frame;
    return new Promise((resolve, reject) => {
      const settle = (answer: Answer): void => {
        signal.removeEventListener('abort', over);
        if (answer.kind === 'reply' || answer.kind === 'handed') resolve(replyOf(answer, address.org));
        else reject(answer.kind === 'error' ? applicationError(answer, address.org) : answer.error);
      };
      let giveUp: GiveUp | undefined;
      const over = (): void => {
        giveUp?.();
        reject(new FedgateError('CANCELLED', 'the caller gave up'));
      };
      if (signal.aborted) return over();
      signal.addEventListener('abort', over, { once: true });
      const { channel } = address;
      giveUp =
        address.org === org
          ? here.request(
              node,
              { channel, senderOrg: org, senderNode: node, record },
              { dueMs, once, key, oneWay },
              settle,
            )
          : this.#remote(
              node,
              address,
              record,
              { answerByMs: dueMs, once, key, oneWay, survey: false, maxAnswers: 0 },
              settle,
              NO_SURVEY,
            );
    });
  }

  /** Returns what ends it without a word. Throws as `request` rejects; of several organisations also GROUP_UNKNOWN. */
  survey(node: string, frame: SurveyFrame, timeLeftMs: number, listener: SurveyListener): GiveUp {
    const { org: own, membersOf, access } = this.#options;
    const { record, maxAnswers } = frame;
    if (maxAnswers > MAX_SURVEYED) throw fieldError('max_answers', `is over ${MAX_SURVEYED}`);
    const destination = parseDestination(frame.address, own);
    const dueMs = dueOf(frame.timeoutMs, DEFAULT_SURVEY_MS, timeLeftMs);
    const { channel } = destination;
    const ask = (org: OrgName, heard: SurveyListener): GiveUp =>
      this.#surveyOne(node, { org, channel }, record, { dueMs, maxAnswers }, heard);
    if ('org' in destination) return ask(destination.org, listener);
    const members = new Map(membersOf(destination).map(({ org, refused }) => [org, refused]));
    return new SeveralSurvey([...members.keys()], maxAnswers, listener).start((org, heard) => {
      const refused = members.get(org);
      if (!refused) return ask(org, heard);
      access.checkRequest(node, { org, channel });
      throw refused;
    });
  }

  #surveyOne(
    node: string,
    address: Address,
    record: RecordBlock,
    terms: SurveyTerms,
    listener: SurveyListener,
  ): GiveUp {
    this.#options.access.checkRequest(node, address);
    const verdict = this.#policy(node, address, record);
    const begin = (): GiveUp => this.#surveyAllowed(node, address, record, terms, listener);
    return verdict instanceof Promise ? laterGiveUp(verdict, begin, error => listener.fail(error)) : begin();
  }

  #surveyAllowed(
    node: string,
    address: Address,
    record: RecordBlock,
    { dueMs, maxAnswers }: SurveyTerms,
    listener: SurveyListener,
  ): GiveUp {
    const { org: own, here } = this.#options;
    const { org, channel } = address;
    const end = (how: SurveyEnd): void => listener.end(how);
    if (org === own) {
      const question = { channel, senderOrg: org, senderNode: node, record };
      const sink = { answer: (answer: Said & Answered) => listener.answer(answer, org), end };
      return here.survey(node, question, { dueMs, maxAnswers }, sink);
    }
    const settle = (answer: Answer): void => {
      if (answer.kind === 'failed') listener.fail(answer.error);
      else if (answer.kind !== 'handed') listener.answer(answer, org);
    };
    const terms = { answerByMs: dueMs, once: true, key: '', oneWay: false, survey: true, maxAnswers };
    return this.#remote(node, address, record, terms, settle, end);
  }

  #policy(node: string, { org, channel }: Address, record: RecordBlock): void | Promise<void> {
    const { policy, org: own } = this.#options;
    if (!policy.asks('request')) return;
    const subject = { org: own, node };
    const { count: records, bytes } = record;
    return policy.check({
      ...{ action: 'request', subject, targetOrg: org, target: channel, records, bytes: bytes.length },
    });
  }

  #remote(
    node: string,
    { org, channel }: Address,
    record: RecordBlock,
    terms: Pick<Asked, 'answerByMs' | 'once' | 'key' | 'oneWay' | 'survey' | 'maxAnswers'>,
    settle: (answer: Answer) => void,
    end: SurveySink['end'],
  ): GiveUp {
    const { ask, deadlines, pending, explain } = this.#options;
    const question = { channel, senderNode: node, record, ...terms };
    return new RemoteRequest(org, question, { deadlines, pending, explain, settle, end }).start(ask);
  }

  #address(node: string, text: string): Address {
    const address = parseAddress(text, this.#options.org);
    this.#options.access.checkRequest(node, address);
    return address;
  }
}

/** Begins something once it is allowed; until then it can be given up. `fail` hears why it was not begun. */
export function laterGiveUp(allowed: Promise<void>, begin: () => GiveUp, fail: (error: FedgateError) => void): GiveUp {
  let giveUp: GiveUp | undefined;
  let over = false;
  allowed
    .then(() => {
      if (!over) giveUp = begin();
    })
    .catch(error => {
      if (!over) fail(error as FedgateError);
    });
  return () => {
    over = true;
    giveUp?.();
  };
}

const NO_SURVEY = (): void => undefined;

/** Throws FIELD_INVALID. */
function dueOf(timeoutMs: number, defaultMs: number, timeLeftMs: number): number {
  if (timeoutMs > MAX_TIMEOUT_MS) throw fieldError('timeout_ms', `is over ${MAX_TIMEOUT_MS}`);
  return performance.now() + Math.min(timeoutMs || defaultMs, timeLeftMs);
}

function replyOf(answer: Extract<Answer, { kind: 'reply' | 'handed' }>, org: OrgName): Reply {
  const { node, attempts, duplicate } = answer;
  return { org, record: answer.kind === 'reply' ? answer.record : undefined, node, attempts, duplicate };
}

function applicationError(answer: Extract<Answer, { kind: 'error' }>, org: string): FedgateError {
  const { error, node, attempts } = answer;
  return new FedgateError('APPLICATION_ERROR', error.message || error.code, {
    application: error,
    metadata: { org, node, attempts: String(attempts), code: error.code },
  });
}
