import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { RecordBlock } from '../wire/records.js';
import type { Asked } from './asked.js';
import type { Deadlines, Due } from './deadlines.js';
import type { GiveUp } from './here.js';
import type { Pending } from './pending.js';
import type { SurveySink } from './survey.js';
import { type Answer, MAX_SURVEYED, type SurveyEnd } from './types.js';

export interface RemoteParts {
  readonly deadlines: Deadlines;
  readonly pending: Pending;
  readonly explain: (error: FedgateError) => FedgateError;
  readonly settle: (answer: Answer) => void;
  readonly end: SurveySink['end'];
}

/** How much longer the other side has to tell how a survey ended, milliseconds: it ends by its own clock. */
const SURVEY_GRACE_MS = 2_000;

/** A request of an own node to another organisation: it ends once, whatever the link and the other side do. */
export class RemoteRequest implements Asked, Due {
  readonly channel: string;
  readonly senderNode: string;
  readonly record: RecordBlock;
  readonly once: boolean;
  readonly key: string;
  readonly survey: boolean;
  readonly maxAnswers: number;
  readonly oneWay: boolean;
  readonly answerByMs: number;
  readonly dueMs: number;
  heapAt = -1;
  readonly #org: OrgName;
  readonly #parts: RemoteParts;
  readonly #bytes: number;
  #over = false;
  #answers = 0;
  #giveUp: GiveUp = () => undefined;

  constructor(org: OrgName, asked: Omit<Asked, 'dueMs' | 'answer' | 'end' | 'fail'>, parts: RemoteParts) {
    this.channel = asked.channel;
    this.senderNode = asked.senderNode;
    this.record = asked.record;
    this.once = asked.once;
    this.key = asked.key;
    this.survey = asked.survey;
    this.maxAnswers = asked.maxAnswers;
    this.oneWay = asked.oneWay;
    this.answerByMs = asked.answerByMs;
    this.dueMs = asked.answerByMs + (asked.survey ? SURVEY_GRACE_MS : 0);
    this.#org = org;
    this.#parts = parts;
    this.#bytes = asked.record.bytes.length;
  }

  /** Throws LIMIT_REACHED, ORG_UNKNOWN, ORG_INACTIVE, SNAPSHOT_EXPIRED. */
  start(ask: (org: OrgName, asked: Asked) => GiveUp): GiveUp {
    const { pending, deadlines } = this.#parts;
    pending.enter(this.senderNode, this.#bytes);
    deadlines.add(this);
    try {
      this.#giveUp = ask(this.#org, this);
    } catch (error) {
      this.#finish();
      throw error;
    }
    return () => {
      if (this.#finish()) this.#giveUp();
    };
  }

  answer(answer: Answer): void {
    if (this.#over) return;
    if (answer.kind === 'failed') return this.fail(answer.error, answer.attempts);
    if (this.survey) {
      const most = this.maxAnswers || MAX_SURVEYED;
      if (++this.#answers > most) throw new FedgateError('FRAME_UNEXPECTED', `more than ${most} answers to a survey`);
    } else this.#finish();
    this.#parts.settle(answer);
  }

  end(end: SurveyEnd): void {
    if (this.#finish()) this.#parts.end(end);
  }

  fail(error: FedgateError, attempts = 0): void {
    if (!this.#finish()) return;
    this.#parts.settle({ kind: 'failed', error: this.#parts.explain(error), attempts });
  }

  expire(): void {
    const message = `no answer came in time from ${this.#org} on ${this.channel}`;
    if (!this.#finish()) return;
    this.#giveUp();
    const error = new FedgateError('DEADLINE_EXCEEDED', message, { metadata: { org: this.#org } });
    this.#parts.settle({ kind: 'failed', error, attempts: 0 });
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#parts.deadlines.remove(this);
    this.#parts.pending.leave(this.senderNode, this.#bytes);
    return true;
  }
}
