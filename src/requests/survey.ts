import { FedgateError } from '../errors.js';
import type { Deadlines, Due } from './deadlines.js';
import type { Dispatcher } from './dispatcher.js';
import type { Job } from './job.js';
import type { Responder } from './responder.js';
import {
  type Answer,
  type Answered,
  type CancelCause,
  MAX_MISSING_NAMED,
  MAX_SURVEYED,
  type Question,
  type Said,
  type SurveyEnd,
  type Why,
} from './types.js';

export interface SurveyTerms {
  readonly dueMs: number;
  /** 0: until all have answered. */
  readonly maxAnswers: number;
}

export interface SurveySink {
  answer(answer: Said & Answered): void;
  /** Once, and last. */
  end(end: SurveyEnd): void;
}

/** Asks all responders that a channel has at that moment, and ends when all have answered or gone, enough have, or the time is over. */
export class Survey implements Due {
  readonly dueMs: number;
  heapAt = -1;
  readonly #org: string;
  readonly #dispatcher: Dispatcher;
  readonly #deadlines: Deadlines;
  readonly #maxAnswers: number;
  readonly #sink: SurveySink;
  readonly #waiting = new Map<Responder, Job>();
  readonly #missing: { org: string; node: string; why: Why }[] = [];
  #asked = 0;
  #answered = 0;
  #over = false;

  constructor(org: string, dispatcher: Dispatcher, deadlines: Deadlines, terms: SurveyTerms, sink: SurveySink) {
    this.#org = org;
    this.#dispatcher = dispatcher;
    this.#deadlines = deadlines;
    this.dueMs = terms.dueMs;
    this.#maxAnswers = terms.maxAnswers;
    this.#sink = sink;
  }

  /** Throws NO_RESPONDERS: nobody was asked. */
  start(question: Question): void {
    const responders = this.#dispatcher.serving(question.channel).slice(0, MAX_SURVEYED);
    if (responders.length === 0) {
      throw new FedgateError('NO_RESPONDERS', `nobody of ${this.#org} answers on ${question.channel} at the moment`, {
        metadata: { org: this.#org },
      });
    }
    this.#asked = responders.length;
    this.#deadlines.add(this);
    for (const responder of responders) {
      if (this.#over) return;
      let settled = false;
      const job = this.#dispatcher.askOne(responder, question, {
        dueMs: this.dueMs,
        once: true,
        key: '',
        survey: true,
        settle: answer => {
          settled = true;
          this.#settled(responder, answer);
        },
      });
      if (!settled) this.#waiting.set(responder, job);
    }
    this.#endIfAll();
  }

  expire(): void {
    this.#end('deadline');
  }

  /** Whoever asked is gone; nobody is told anything more. */
  cancel(): void {
    if (this.#over) return;
    this.#close('caller');
  }

  #settled(responder: Responder, answer: Answer): void {
    this.#waiting.delete(responder);
    if (this.#over) return;
    if (answer.kind === 'failed') this.#miss(responder, answer.error.reason === 'LIMIT_REACHED' ? 'busy' : 'gone');
    else if (answer.kind !== 'handed') {
      this.#answered++;
      this.#sink.answer(answer);
      if (this.#answered === this.#maxAnswers) return this.#end('caller');
    }
    this.#endIfAll();
  }

  #endIfAll(): void {
    if (!this.#over && this.#answered + this.#missed === this.#asked) this.#end('caller');
  }

  #missed = 0;

  #miss({ node }: Responder, why: Why): void {
    this.#missed++;
    if (this.#missing.length < MAX_MISSING_NAMED) this.#missing.push({ org: this.#org, node, why });
  }

  #end(cause: CancelCause): void {
    for (const [responder, { attempts }] of this.#waiting) this.#miss(responder, attempts > 0 ? 'no answer' : 'busy');
    this.#close(cause);
    this.#sink.end({ asked: this.#asked, answered: this.#answered, missing: this.#missing });
  }

  #close(cause: CancelCause): void {
    this.#over = true;
    this.#deadlines.remove(this);
    for (const job of this.#waiting.values()) this.#dispatcher.cancel(job, cause);
    this.#waiting.clear();
  }
}
