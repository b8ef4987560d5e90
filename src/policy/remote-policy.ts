import { FedgateError, quoted } from '../errors.js';
import type { Policy, PolicyAction, PolicyQuestion } from './types.js';

/** Questions that wait for an answer at once. */
export const MAX_POLICY_QUESTIONS = 1_024;
/** The longest time that an answer is remembered, milliseconds. */
export const MAX_DECISION_CACHE_MS = 86_400_000;
/** The least time between two questions about the same stream, milliseconds. */
export const WATCH_APART_MS = 5_000;
/** How long a question that was not answered is not asked again, milliseconds: those who wait behind it need not wait as long. */
export const UNANSWERED_MS = 250;
/** Characters of an explanation that are passed on. */
export const MAX_EXPLANATION = 200;

/** An answer of the operator's policy. */
export interface Decision {
  readonly allowed: boolean;
  readonly reason: string;
  readonly cacheMs: number;
}

export interface RemotePolicyOptions {
  /** The own organisation. */
  readonly org: string;
  readonly actions: readonly PolicyAction[];
  /** Answers that are remembered. */
  readonly cacheEntries: number;
  /** Asks the operator's server; rejects when it does not answer. */
  readonly ask: (question: PolicyQuestion) => Promise<Decision>;
  /** Milliseconds that only rise. */
  readonly now: () => number;
  /** Hears that the server does not answer, once until it does. */
  readonly onTrouble: (error: unknown) => void;
}

interface Known {
  readonly refusal: FedgateError | undefined;
  readonly untilMs: number;
}

/** Asks an operator's server. Whatever is no clear yes is a no. */
export class RemotePolicy implements Policy {
  readonly #options: RemotePolicyOptions;
  readonly #actions: ReadonlySet<PolicyAction>;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<Known>>();
  #trouble = false;

  constructor(options: RemotePolicyOptions) {
    this.#options = options;
    this.#actions = new Set(options.actions);
  }

  asks(action: PolicyAction): boolean {
    return this.#actions.has(action);
  }

  check(question: PolicyQuestion): void | Promise<void> {
    if (!this.asks(question.action)) return;
    const known = this.#remembered(question) ?? this.#ask(question);
    return known instanceof Promise ? known.then(obey) : obey(known);
  }

  watch(question: PolicyQuestion, end: (error: FedgateError) => void): (() => void) | Promise<() => void> {
    if (!this.asks(question.action)) return () => undefined;
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const again = (): void => {
      void this.#ask(question).then(known => {
        if (over) return;
        if (known.refusal) end(known.refusal);
        else wait(known);
      });
    };
    const wait = ({ untilMs }: Known): void => {
      timer = setTimeout(again, Math.max(WATCH_APART_MS, untilMs - this.#options.now())).unref();
    };
    const begin = (known: Known): (() => void) => {
      obey(known);
      wait(known);
      return () => {
        over = true;
        clearTimeout(timer);
      };
    };
    const known = this.#remembered(question) ?? this.#ask(question);
    return known instanceof Promise ? known.then(begin) : begin(known);
  }

  #remembered(question: PolicyQuestion): Known | undefined {
    const key = keyOf(question);
    const known = this.#known.get(key);
    if (!known) return undefined;
    if (this.#options.now() < known.untilMs) return known;
    this.#known.delete(key);
    return undefined;
  }

  /** Never rejects: that nobody answers is an answer. */
  #ask(question: PolicyQuestion): Promise<Known> {
    const key = `${keyOf(question)} ${question.records} ${question.bytes}`;
    const asking = this.#asking.get(key);
    if (asking !== undefined) return asking;
    if (this.#asking.size >= MAX_POLICY_QUESTIONS)
      return Promise.resolve({ refusal: unavailable('it is asked too much at once'), untilMs: 0 });
    const answer = this.#options
      .ask(question)
      .then(
        decision => this.#answered(question, decision),
        error => this.#unanswered(question, error),
      )
      .finally(() => this.#asking.delete(key));
    this.#asking.set(key, answer);
    return answer;
  }

  #answered(question: PolicyQuestion, { allowed, reason, cacheMs }: Decision): Known {
    this.#trouble = false;
    const refusal = allowed ? undefined : denied(this.#options.org, question, reason);
    const known = { refusal, untilMs: this.#options.now() + Math.min(cacheMs, MAX_DECISION_CACHE_MS) };
    if (cacheMs > 0) this.#remember(question, known);
    return known;
  }

  #unanswered(question: PolicyQuestion, error: unknown): Known {
    if (!this.#trouble) this.#options.onTrouble(error);
    this.#trouble = true;
    const known = { refusal: unavailable('it does not answer', error), untilMs: this.#options.now() + UNANSWERED_MS };
    this.#remember(question, known);
    return known;
  }

  #remember(question: PolicyQuestion, known: Known): void {
    const { cacheEntries } = this.#options;
    if (cacheEntries === 0) return;
    if (this.#known.size >= cacheEntries) {
      const [oldest] = this.#known.keys();
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    this.#known.set(keyOf(question), known);
  }
}

/** No name, channel, pattern or share has a space. */
const keyOf = ({ action, subject, targetOrg, target }: PolicyQuestion): string =>
  `${action} ${subject.org} ${subject.node} ${targetOrg} ${target}`;

function obey({ refusal }: Known): void {
  if (refusal) throw refusal;
}

function denied(org: string, { action, subject, target }: PolicyQuestion, reason: string): FedgateError {
  const explanation = [...reason].slice(0, MAX_EXPLANATION).join('');
  const why = explanation === '' ? '' : `: ${quoted(explanation)}`;
  return new FedgateError(
    'POLICY_DENIED',
    `the policy of ${org} does not let node ${subject.node} of ${subject.org} ${action} ${target}${why}`,
    { metadata: { org, action, explanation } },
  );
}

const unavailable = (why: string, cause?: unknown): FedgateError =>
  new FedgateError('POLICY_UNAVAILABLE', `the policy of the gateway's operator cannot be asked: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    retryAfterMs: 1_000,
  });
