import type { BatchHeader, ReplyTerms, RequestTerms } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import type { DeliveryOutcome } from '../messaging/router.js';
import type { Asked } from '../requests/asked.js';
import type { GiveUp } from '../requests/here.js';
import type { SurveySink, SurveyTerms } from '../requests/survey.js';
import { type Answer, MAX_TIMEOUT_MS, type Question, type Terms } from '../requests/types.js';
import { malformed } from '../wire/reader.js';
import { type RecordBlock, sliceBlock } from '../wire/records.js';
import type { OutgoingBatch } from './batch.js';
import { readAnswer, readSurveyEnd, wireAnswer, wireRefusal, wireSurveyEnd } from './request-answers.js';

/** What answers the requests of peers, and hears of what was wrong with their answers. */
export interface RequestsHost {
  /** Why a node of another organisation may not ask on a channel here; undefined: it may. */
  judge(peer: Identity, channel: string, senderNode: string): FedgateError | undefined;
  /** As Here.request and Here.survey. */
  request(peer: Identity, question: Question, terms: Terms, settle: (answer: Answer) => void): GiveUp;
  survey(
    peer: Identity,
    question: Question,
    terms: SurveyTerms,
    sink: SurveySink & { fail(error: FedgateError): void },
  ): GiveUp;
  /** An answer was thrown away: nobody waits for it. */
  dropped(error: FedgateError, peer: Identity): void;
}

export interface LinkRequestsParts {
  readonly peer: Identity;
  readonly host: RequestsHost;
  send(batch: OutgoingBatch): Promise<DeliveryOutcome>;
  /** Tells the peer that nobody waits for these any more. */
  cancelled(ids: bigint[]): void;
  close(error: FedgateError): void;
}

interface Waiting {
  readonly asked: Asked;
  /** The peer has said that it has the request. */
  delivered: boolean;
  /** Nobody waits any more, and the peer is to be told so once it has said that. */
  givenUp: boolean;
}

const MAX_CANCELLED_IDS = 1_000;

/**
 * The requests of one link, either way. An answer counts when it comes on the link on which its request went, once, while somebody waits
 * for it: everything else is thrown away, and a peer that answers what it was never asked is cut off.
 */
export class LinkRequests {
  readonly #parts: LinkRequestsParts;
  readonly #waiting = new Map<number, Waiting>();
  readonly #answering = new Map<number, GiveUp>();
  #lastAsked = 0;
  #lastTaken = 0;
  #cancelled: bigint[] = [];
  #idle: (() => void)[] = [];
  #ended = false;

  constructor(parts: LinkRequestsParts) {
    this.#parts = parts;
  }

  ask(asked: Asked): () => void {
    const { channel, senderNode, record, answerByMs: dueMs, once, key, survey, maxAnswers, oneWay } = asked;
    const id = ++this.#lastAsked;
    const waiting: Waiting = { asked, delivered: false, givenUp: false };
    this.#waiting.set(id, waiting);
    const requests = [{ id, dueMs, once, key, survey, maxAnswers, oneWay }];
    this.#parts.send({ channel, senderNode, patienceMs: 0, records: record, requests }).then(
      () => {
        waiting.delivered = true;
        if (waiting.givenUp) this.#cancel(id);
      },
      error => {
        if (this.#forget(id, waiting)) asked.fail(error as FedgateError);
      },
    );
    return () => {
      // What the peer has not confirmed yet may still wait to be sent: it is cancelled behind the confirmation.
      if (!this.#forget(id, waiting)) return;
      if (waiting.delivered) this.#cancel(id);
      else waiting.givenUp = true;
    };
  }

  #forget(id: number, waiting: Waiting): boolean {
    if (this.#waiting.get(id) !== waiting) return false;
    this.#waiting.delete(id);
    this.#checkIdle();
    return true;
  }

  #cancel(id: number): void {
    if (this.#ended) return;
    if (this.#cancelled.length === 0) setImmediate(() => this.#sendCancelled());
    this.#cancelled.push(BigInt(id));
  }

  #sendCancelled(): void {
    const ids = this.#cancelled;
    this.#cancelled = [];
    if (this.#ended) return;
    for (let at = 0; at < ids.length; at += MAX_CANCELLED_IDS)
      this.#parts.cancelled(ids.slice(at, at + MAX_CANCELLED_IDS));
  }

  /** Judges what may not be. Throws what must end the link. */
  admit({ requests, replies, channel, senderNode }: BatchHeader): void {
    for (const { id, survey, idempotencyKey, oneWay } of requests) {
      if (id <= BigInt(this.#lastTaken) || id > BigInt(Number.MAX_SAFE_INTEGER))
        throw new FedgateError('REPLAYED', `request ${id} came after ${this.#lastTaken}`);
      if (idempotencyKey.length > 64 || [survey, idempotencyKey, oneWay].filter(Boolean).length > 1)
        throw malformed('the terms of a request');
      this.#lastTaken = Number(id);
    }
    if (replies.length > 0 && (channel || senderNode)) throw malformed('answers on a channel');
    for (const { requestId, kind } of replies) {
      if (requestId < 1n || requestId > BigInt(this.#lastAsked))
        throw new FedgateError('FRAME_UNEXPECTED', `an answer to request ${requestId}, which was never asked`);
      if (kind < 1 || kind > HANDED_OVER) throw malformed('an answer of a kind that is not known');
      const asked = this.#waiting.get(Number(requestId))?.asked;
      if (kind === SURVEY_END && asked?.survey === false)
        throw new FedgateError('FRAME_UNEXPECTED', `the end of a survey for request ${requestId}, which is none`);
      // Of what is one-way it is said who got it, or why nobody did; of nothing else is that said.
      if (asked && kind !== REFUSED && asked.oneWay !== (kind === HANDED_OVER))
        throw new FedgateError('FRAME_UNEXPECTED', `an answer of kind ${kind} to request ${requestId}`);
    }
  }

  /** Takes a batch of requests or answers; undefined: it is neither. Throws why the requests of the batch are refused. */
  take(header: BatchHeader, records: RecordBlock): DeliveryOutcome | undefined {
    if (header.requests.length > 0) return this.#takeRequests(header, records);
    if (header.replies.length > 0) return this.#takeReplies(header, records);
    return undefined;
  }

  /** Throws FRAME_MALFORMED. */
  takeCancel(ids: readonly bigint[]): void {
    if (ids.length > MAX_CANCELLED_IDS) throw malformed('more requests are cancelled at once than may be');
    for (const id of ids) {
      const giveUp = this.#answering.get(Number(id));
      if (!giveUp) continue;
      this.#answering.delete(Number(id));
      giveUp();
    }
    this.#checkIdle();
  }

  /** Resolves once nothing is asked and nothing is being answered. */
  idle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise(resolve => this.#idle.push(resolve));
  }

  /** The link is over. What the peer had and did not answer may or may not have been carried out; what it asked nobody waits for any more. */
  end(reason: FedgateError): void {
    this.#ended = true;
    const { org } = this.#parts.peer;
    const message = `the link to ${org} ended before the answer: ${reason.message}`;
    // What was not confirmed is refused by the sender of batches, which knows whether it was sent.
    for (const [id, { asked, delivered }] of [...this.#waiting]) {
      if (!delivered) continue;
      this.#waiting.delete(id);
      asked.fail(new FedgateError('OUTCOME_UNKNOWN', message, { metadata: { org } }));
    }
    const answering = [...this.#answering.values()];
    this.#answering.clear();
    for (const giveUp of answering) giveUp();
    this.#checkIdle();
  }

  #takeRequests({ requests, channel, senderNode }: BatchHeader, records: RecordBlock): DeliveryOutcome {
    const { host, peer } = this.#parts;
    const refusal = host.judge(peer, channel, senderNode);
    if (refusal) throw refusal;
    requests.forEach((terms, i) => {
      this.#answerOne({ channel, senderOrg: peer.org, senderNode, record: ownRecord(records, i) }, terms);
    });
    return { subscribers: requests.length, dropped: 0 };
  }

  #answerOne(question: Question, terms: RequestTerms): void {
    const { host, peer } = this.#parts;
    const id = Number(terms.id);
    const dueMs = performance.now() + Math.min(Math.max(terms.timeoutMs, 1), MAX_TIMEOUT_MS);
    let settled = false;
    const last = (answer: WireAnswer): void => {
      settled = true;
      this.#answering.delete(id);
      this.#reply(id, answer);
      this.#checkIdle();
    };
    try {
      const giveUp = terms.survey
        ? host.survey(
            peer,
            question,
            { dueMs, maxAnswers: terms.maxAnswers },
            {
              answer: answer => this.#reply(id, wireAnswer(answer)),
              end: end => last(wireSurveyEnd(end)),
              fail: error => last(wireRefusal(error)),
            },
          )
        : host.request(
            peer,
            question,
            { dueMs, once: terms.once, key: terms.idempotencyKey, oneWay: terms.oneWay },
            answer => last(wireAnswer(answer)),
          );
      if (!settled) this.#answering.set(id, giveUp);
    } catch (error) {
      last(wireRefusal(error));
    }
  }

  #reply(id: number, { record, ...terms }: WireAnswer): void {
    if (this.#ended) return;
    const replies = [{ requestId: BigInt(id), ...terms }];
    this.#parts.send({ channel: '', senderNode: '', patienceMs: 0, records: record, replies }).catch(error => {
      if (!this.#ended) this.#parts.host.dropped(error as FedgateError, this.#parts.peer);
    });
  }

  #takeReplies({ replies }: BatchHeader, records: RecordBlock): DeliveryOutcome {
    let taken = 0;
    let dropped = 0;
    replies.forEach((terms, i) => {
      if (this.#takeReply(terms, records, i)) taken++;
      else dropped++;
    });
    return { subscribers: taken, dropped };
  }

  #takeReply(terms: ReplyTerms, records: RecordBlock, i: number): boolean {
    const id = Number(terms.requestId);
    const { host, peer } = this.#parts;
    const waiting = this.#waiting.get(id);
    if (!waiting || performance.now() >= waiting.asked.dueMs) {
      host.dropped(new FedgateError('REPLAYED', `an answer to request ${id}, for which nobody waits any more`), peer);
      return false;
    }
    const { asked } = waiting;
    const record = ownRecord(records, i);
    try {
      if (terms.kind === SURVEY_END) {
        const end = readSurveyEnd(record, peer.org);
        this.#forget(id, waiting);
        asked.end(end);
      } else {
        const answer = readAnswer(terms, record, peer.org);
        if (!asked.survey || answer.kind === 'failed') this.#forget(id, waiting);
        asked.answer(answer);
      }
    } catch (cause) {
      this.#forget(id, waiting);
      asked.fail(new FedgateError('OUTCOME_UNKNOWN', `${peer.org} answered what is no answer`, { cause }));
      host.dropped(cause as FedgateError, peer);
      return false;
    }
    return true;
  }

  get #isIdle(): boolean {
    return this.#waiting.size === 0 && this.#answering.size === 0;
  }

  #checkIdle(): void {
    if (this.#idle.length > 0 && this.#isIdle) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

const REFUSED: ReplyTerms['kind'] = 3;
const SURVEY_END: ReplyTerms['kind'] = 4;
const HANDED_OVER: ReplyTerms['kind'] = 5;

export type WireAnswer = Omit<ReplyTerms, 'requestId'> & { readonly record: RecordBlock };

/** The i-th record of a frame, alone: a view would keep the whole frame for as long as one of its requests takes. */
function ownRecord(records: RecordBlock, i: number): RecordBlock {
  if (records.count === 1) return records;
  const { bytes, count } = sliceBlock(records, i, i + 1);
  return { bytes: Buffer.from(bytes), count };
}
