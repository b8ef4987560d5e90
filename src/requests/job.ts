import type { RecordBlock } from '../wire/records.js';
import type { Due } from './deadlines.js';
import type { Responder } from './responder.js';
import type { Answer, Question, Said, Terms } from './types.js';

export interface JobTerms extends Terms {
  /** Whether all responders are asked; this job is for one of them. */
  readonly survey: boolean;
  /** It is a stored request that so many responders may have got before. */
  readonly stored?: { readonly id: string; readonly attempts: number } | undefined;
  /** Hears, once, how it ended. */
  readonly settle: (answer: Answer) => void;
  /** Hears what a responder said, or that it is gone, after the job had ended while it was out. */
  readonly late?: (said: Said | undefined, node: string) => void;
}

/** One request on its way through a gateway: it waits in a line, or is out to a responder, until it ends, once. */
export class Job implements Due {
  readonly channel: string;
  readonly senderOrg: string;
  readonly senderNode: string;
  readonly dueMs: number;
  readonly once: boolean;
  readonly survey: boolean;
  readonly oneWay: boolean;
  /** Of a stored request its id; empty: it is none. */
  readonly storedId: string;
  readonly bytes: number;
  readonly terms: JobTerms;
  /** Undefined once it has ended: what is out and will not be answered any more holds no content. */
  record: RecordBlock | undefined;
  attempts = 0;
  done = false;
  /** Whose it is at the moment, and under which number. */
  responder: Responder | undefined;
  id = 0;
  heapAt = -1;
  /** The line it stands in, and its neighbours there. */
  line: JobList | undefined;
  before: Job | undefined;
  behind: Job | undefined;
  readonly #onExpire: (job: Job) => void;

  constructor(question: Question, terms: JobTerms, onExpire: (job: Job) => void) {
    this.channel = question.channel;
    this.senderOrg = question.senderOrg;
    this.senderNode = question.senderNode;
    this.record = question.record;
    this.bytes = question.record.bytes.length;
    this.terms = terms;
    this.dueMs = terms.dueMs;
    this.once = terms.once;
    this.survey = terms.survey;
    this.oneWay = terms.oneWay ?? false;
    this.storedId = terms.stored?.id ?? '';
    this.attempts = terms.stored?.attempts ?? 0;
    this.#onExpire = onExpire;
  }

  expire(): void {
    this.#onExpire(this);
  }
}

/** Jobs in line. Any of them can leave it at any time. */
export class JobList {
  #head: Job | undefined;
  #tail: Job | undefined;
  length = 0;

  peek(): Job | undefined {
    return this.#head;
  }

  push(job: Job): void {
    job.before = this.#tail;
    if (this.#tail) this.#tail.behind = job;
    else this.#head = job;
    this.#tail = job;
    this.#took(job);
  }

  unshift(job: Job): void {
    job.behind = this.#head;
    if (this.#head) this.#head.before = job;
    else this.#tail = job;
    this.#head = job;
    this.#took(job);
  }

  remove(job: Job): void {
    if (job.line !== this) return;
    if (job.before) job.before.behind = job.behind;
    else this.#head = job.behind;
    if (job.behind) job.behind.before = job.before;
    else this.#tail = job.before;
    job.before = undefined;
    job.behind = undefined;
    job.line = undefined;
    this.length--;
  }

  #took(job: Job): void {
    job.line = this;
    this.length++;
  }
}

/** The jobs of one channel that wait for a responder with room. There is one as long as some do. */
export class Line extends JobList {
  readonly channel: string;

  constructor(channel: string) {
    super();
    this.channel = channel;
  }
}
