import type { Deadlines } from './deadlines.js';
import { Dispatcher } from './dispatcher.js';
import { Idempotency } from './idempotency.js';
import type { Pending } from './pending.js';
import { Survey, type SurveySink, type SurveyTerms } from './survey.js';
import type { Answer, Question, Terms } from './types.js';

/** Ends the waiting for an answer: whoever asked is gone. */
export type GiveUp = () => void;

/** What is asked of the own organisation, by its own nodes and by those of others. */
export class Here {
  readonly dispatcher: Dispatcher;
  readonly #org: string;
  readonly #deadlines: Deadlines;
  readonly #pending: Pending;
  readonly #idempotency: Idempotency;

  constructor(org: string, deadlines: Deadlines, pending: Pending) {
    this.#org = org;
    this.#deadlines = deadlines;
    this.#pending = pending;
    this.dispatcher = new Dispatcher(org, deadlines);
    this.#idempotency = new Idempotency(this.dispatcher, deadlines);
  }

  /**
   * Asks. `settle` hears once how it ended, perhaps before this returns. `caller` is whose limits count: a node of the own organisation, or
   * another organisation. Throws LIMIT_REACHED.
   */
  request(caller: string, question: Question, terms: Terms, settle: (answer: Answer) => void): GiveUp {
    const bytes = question.record.bytes.length;
    this.#pending.enter(caller, bytes);
    let inside = true;
    const leave = (): void => {
      if (inside) this.#pending.leave(caller, bytes);
      inside = false;
    };
    const settled = (answer: Answer): void => {
      leave();
      settle(answer);
    };
    if (terms.key) return this.#idempotency.ask(question, terms, settle, leave);
    const { dueMs, once, key, oneWay } = terms;
    const job = this.dispatcher.ask(question, { dueMs, once, key, oneWay, survey: false, settle: settled });
    return () => {
      leave();
      this.dispatcher.cancel(job, 'caller');
    };
  }

  /** Asks everybody. Throws LIMIT_REACHED, NO_RESPONDERS. */
  survey(caller: string, question: Question, terms: SurveyTerms, sink: SurveySink): GiveUp {
    const bytes = question.record.bytes.length;
    this.#pending.enter(caller, bytes);
    let inside = true;
    const leave = (): void => {
      if (inside) this.#pending.leave(caller, bytes);
      inside = false;
    };
    const survey = new Survey(this.#org, this.dispatcher, this.#deadlines, terms, {
      answer: answer => sink.answer(answer),
      end: end => {
        leave();
        sink.end(end);
      },
    });
    try {
      survey.start(question);
    } catch (error) {
      leave();
      throw error;
    }
    return () => {
      leave();
      survey.cancel();
    };
  }
}
