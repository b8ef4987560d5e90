import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { MAX_BROADCAST_ORGS } from '../messaging/broadcast.js';
import type { GiveUp } from './here.js';
import { type Answered, MAX_MISSING_NAMED, type Said, type SurveyEnd } from './types.js';

/** Hears what comes of a survey. */
export interface SurveyListener {
  answer(answer: Said & Answered, org: OrgName): void;
  /** Once, and last, unless it fails. */
  end(end: SurveyEnd): void;
  fail(error: FedgateError): void;
}

interface Part {
  readonly org: OrgName;
  asked: number;
  answered: number;
  error: FedgateError | undefined;
  state: 'asking' | 'over' | 'early';
  giveUp: GiveUp;
}

/**
 * A survey of several organisations: each is asked for itself, and what one of them does not take or bring to its end is its entry in the
 * summary.
 */
export class SeveralSurvey {
  readonly #parts: readonly Part[];
  readonly #maxAnswers: number;
  readonly #listener: SurveyListener;
  readonly #missing: SurveyEnd['missing'][number][] = [];
  #answered = 0;
  #starting = true;
  #over = false;

  /** `maxAnswers`: of all together; 0: until each has ended. Throws LIMIT_REACHED. */
  constructor(orgs: readonly OrgName[], maxAnswers: number, listener: SurveyListener) {
    if (orgs.length > MAX_BROADCAST_ORGS) {
      throw new FedgateError('LIMIT_REACHED', `${orgs.length} organisations are more than ${MAX_BROADCAST_ORGS}`, {
        metadata: { limit: 'organisations of a survey' },
      });
    }
    this.#maxAnswers = maxAnswers;
    this.#listener = listener;
    const fresh = { asked: 0, answered: 0, error: undefined, giveUp: () => undefined };
    this.#parts = orgs.map(org => ({ org, ...fresh, state: 'asking' }));
  }

  /** Asks each. Throws NOT_GRANTED when none is granted. */
  start(ask: (org: OrgName, listener: SurveyListener) => GiveUp): GiveUp {
    for (const part of this.#parts) {
      if (this.#over) break;
      this.#ask(part, ask);
    }
    const [first] = this.#parts;
    if (first?.error && this.#parts.every(({ error }) => error?.reason === 'NOT_GRANTED' && !error.metadata.org))
      throw first.error;
    this.#starting = false;
    this.#endIfAll();
    return () => {
      this.#over = true;
      this.#giveUpAll();
    };
  }

  #ask(part: Part, ask: (org: OrgName, listener: SurveyListener) => GiveUp): void {
    const { org } = part;
    try {
      part.giveUp = ask(org, {
        answer: answer => this.#answer(part, answer),
        end: end => this.#ended(part, end),
        fail: error => this.#failed(part, error),
      });
      // It may have been over before this was known.
      if (this.#over) part.giveUp();
    } catch (thrown) {
      const known = thrown instanceof FedgateError;
      this.#failed(part, known ? thrown : new FedgateError('INTERNAL', 'internal error', { cause: thrown }));
    }
  }

  #answer(part: Part, answer: Said & Answered): void {
    if (this.#over || part.state !== 'asking') return;
    part.answered++;
    this.#answered++;
    this.#listener.answer(answer, part.org);
    if (this.#answered === this.#maxAnswers) this.#end();
  }

  #ended(part: Part, { asked, missing }: SurveyEnd): void {
    if (this.#over || part.state !== 'asking') return;
    part.state = 'over';
    part.asked = Math.max(asked, part.answered);
    this.#missing.push(...missing.slice(0, MAX_MISSING_NAMED - this.#missing.length));
    this.#endIfAll();
  }

  #failed(part: Part, error: FedgateError): void {
    if (this.#over || part.state !== 'asking') return;
    part.state = 'over';
    part.asked = part.answered;
    part.error = error;
    this.#endIfAll();
  }

  #endIfAll(): void {
    if (!this.#over && !this.#starting && this.#parts.every(({ state }) => state === 'over')) this.#end();
  }

  #end(): void {
    this.#over = true;
    for (const part of this.#parts) {
      if (part.state !== 'asking') continue;
      part.state = 'early';
      part.asked = part.answered;
    }
    this.#giveUpAll();
    const orgs = this.#parts.map(({ org, asked, answered, error, state }) => ({
      ...{ org, asked, answered, error },
      early: state === 'early',
    }));
    const asked = orgs.reduce((sum, part) => sum + part.asked, 0);
    this.#listener.end({ asked, answered: this.#answered, missing: this.#missing, orgs });
  }

  #giveUpAll(): void {
    for (const { giveUp, state } of this.#parts) if (state !== 'over') giveUp();
  }
}
