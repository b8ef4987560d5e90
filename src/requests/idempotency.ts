import { FedgateError } from '../errors.js';
import type { Deadlines, Due } from './deadlines.js';
import type { Dispatcher } from './dispatcher.js';
import { full } from './pending.js';
import type { Answer, Answered, Question, Said, Terms } from './types.js';

/** How long an answer is remembered, from when it was first asked for, milliseconds. */
export const REMEMBER_MS = 10 * 60_000;
/** Keys that are remembered or under way. */
export const MAX_KEYS = 10_000;
/** Bytes of replies that are remembered. */
export const MAX_REMEMBERED_BYTES = 64 * 1024 * 1024;

/** One caller of a request with a key. */
interface Waiter extends Due {
  readonly question: Question;
  readonly terms: Terms;
  readonly settle: (answer: Answer) => void;
  /** Frees what it takes up, once it neither waits nor is carried out. */
  readonly leave: () => void;
  running: boolean;
}

interface Entry {
  readonly id: string;
  readonly sinceMs: number;
  readonly waiters: Set<Waiter>;
  /** `late`: nobody's time is left, and whoever has it has said nothing yet. */
  state: 'running' | 'late' | 'done';
  answer: (Said & Answered) | undefined;
  bytes: number;
}

/**
 * Requests with an idempotency key: the same caller, channel and key is carried out once, and its answer given to all who ask for it.
 *
 * The request goes on when its caller goes away, so that who asks again gets its answer. When its time is over while a responder has it,
 * that responder's word is waited for: a reply that comes late is an answer to who asks again, and only what the responder did not reply to
 * is asked anew.
 */
export class Idempotency {
  readonly #dispatcher: Dispatcher;
  readonly #deadlines: Deadlines;
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(dispatcher: Dispatcher, deadlines: Deadlines) {
    this.#dispatcher = dispatcher;
    this.#deadlines = deadlines;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns what ends the waiting without a word; the request itself goes on. `leave` is called once nothing is kept of it but its answer. */
  ask(question: Question, terms: Terms, settle: (answer: Answer) => void, leave: () => void): () => void {
    const id = `${question.senderOrg}/${question.senderNode} ${question.channel} ${terms.key}`;
    const known = this.#find(id);
    if (known?.answer) {
      leave();
      settle({ ...known.answer, duplicate: true });
      return () => undefined;
    }
    if (!known && !this.#makeRoom()) {
      leave();
      settle({ kind: 'failed', error: full('idempotency keys', `${MAX_KEYS} keys are under way`), attempts: 0 });
      return () => undefined;
    }
    const entry = known ?? this.#open(id);
    const waiter = this.#waiter(entry, { question, terms, settle, leave });
    entry.waiters.add(waiter);
    if (known) this.#deadlines.add(waiter);
    else this.#run(entry, waiter);
    return () => this.#forget(entry, waiter);
  }

  #open(id: string): Entry {
    const entry: Entry = {
      id,
      sinceMs: this.#deadlines.now(),
      waiters: new Set(),
      state: 'running',
      answer: undefined,
      bytes: 0,
    };
    this.#entries.set(id, entry);
    return entry;
  }

  #waiter(entry: Entry, caller: Pick<Waiter, 'question' | 'terms' | 'settle' | 'leave'>): Waiter {
    const waiter: Waiter = {
      question: caller.question,
      terms: caller.terms,
      settle: caller.settle,
      leave: caller.leave,
      dueMs: caller.terms.dueMs,
      heapAt: -1,
      running: false,
      expire: () => {
        this.#forget(entry, waiter);
        const error = new FedgateError(
          'DEADLINE_EXCEEDED',
          'an earlier request with the same key was not answered in time',
        );
        caller.settle({ kind: 'failed', error, attempts: 0 });
      },
    };
    return waiter;
  }

  #forget(entry: Entry, waiter: Waiter): void {
    entry.waiters.delete(waiter);
    this.#deadlines.remove(waiter);
    if (!waiter.running) waiter.leave();
  }

  /** Carries it out for one of those who wait; its deadline is the request's. */
  #run(entry: Entry, runner: Waiter): void {
    entry.state = 'running';
    runner.running = true;
    this.#deadlines.remove(runner);
    const { dueMs, once, key, oneWay } = runner.terms;
    this.#dispatcher.ask(runner.question, {
      dueMs,
      once,
      key,
      oneWay,
      survey: false,
      settle: answer => this.#settled(entry, runner, answer),
      late: (said, node) => this.#cameLate(entry, said, node),
    });
  }

  #settled(entry: Entry, runner: Waiter, answer: Answer): void {
    runner.running = false;
    runner.leave();
    // What is one-way has no key.
    if (answer.kind === 'handed') return;
    if (answer.kind !== 'failed') return this.#remember(entry, answer, runner);
    if (answer.error.reason !== 'DEADLINE_EXCEEDED') {
      this.#entries.delete(entry.id);
      return this.#tellAll(entry, answer, runner);
    }
    if (entry.waiters.delete(runner)) runner.settle(answer);
    if (answer.attempts > 0) entry.state = 'late';
    else this.#again(entry);
  }

  #cameLate(entry: Entry, said: Said | undefined, node: string): void {
    if (entry.state !== 'late') return;
    if (said?.kind === 'reply')
      this.#remember(entry, { kind: 'reply', record: said.record, node, attempts: 1, duplicate: true });
    else this.#again(entry);
  }

  /** It was not carried out, by the responder's word: who still waits has it asked again. */
  #again(entry: Entry): void {
    const [next] = entry.waiters;
    if (next) this.#run(entry, next);
    else this.#entries.delete(entry.id);
  }

  #remember(entry: Entry, answer: NonNullable<Entry['answer']>, runner?: Waiter): void {
    entry.state = 'done';
    entry.bytes = answer.kind === 'reply' ? answer.record.bytes.length : answer.error.details.length;
    // A view would keep the whole frame that it came in.
    entry.answer =
      answer.kind === 'reply'
        ? { ...answer, record: { ...answer.record, bytes: Buffer.from(answer.record.bytes) } }
        : answer;
    this.#bytes += entry.bytes;
    this.#tellAll(entry, answer, runner);
    for (const old of this.#entries.values()) {
      if (this.#bytes <= MAX_REMEMBERED_BYTES) break;
      if (old.state === 'done') this.#drop(old);
    }
  }

  #tellAll(entry: Entry, answer: Answer, runner: Waiter | undefined): void {
    for (const waiter of [...entry.waiters]) {
      this.#forget(entry, waiter);
      waiter.settle(answer.kind === 'failed' || waiter === runner ? answer : { ...answer, duplicate: true });
    }
  }

  #find(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    if (!entry || !this.#isOver(entry)) return entry;
    this.#drop(entry);
    return undefined;
  }

  #isOver = ({ state, sinceMs }: Entry): boolean => state === 'done' && this.#deadlines.now() - sinceMs >= REMEMBER_MS;

  #drop(entry: Entry): void {
    this.#entries.delete(entry.id);
    this.#bytes -= entry.bytes;
  }

  /** The oldest answers go first; what is under way stays. */
  #makeRoom(): boolean {
    for (const entry of this.#entries.values()) {
      if (!this.#isOver(entry) && this.#entries.size < MAX_KEYS) break;
      if (entry.state === 'done') this.#drop(entry);
    }
    return this.#entries.size < MAX_KEYS;
  }
}
