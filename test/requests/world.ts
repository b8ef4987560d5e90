import type { Pattern } from '../../src/messaging/address.js';
import { parsePattern } from '../../src/messaging/address.js';
import { Deadlines } from '../../src/requests/deadlines.js';
import { type GiveUp, Here } from '../../src/requests/here.js';
import type { Job } from '../../src/requests/job.js';
import { Pending } from '../../src/requests/pending.js';
import { Responder, type ResponderSink } from '../../src/requests/responder.js';
import type { Answer, CancelCause } from '../../src/requests/types.js';
import { recordBlock } from '../support/attack.js';

/** A responder of a test: it keeps what it is asked and says what the test wants. */
export class TestResponder implements ResponderSink {
  readonly responder: Responder;
  /** What is out to it, by number. */
  readonly asked: { readonly id: number; readonly channel: string; readonly attempt: number }[] = [];
  readonly cancelled: { readonly id: number; readonly cause: CancelCause }[] = [];
  readonly #world: World;

  constructor(world: World, node: string, capacity: number) {
    this.#world = world;
    this.responder = new Responder(node, capacity, this);
  }

  request({ id, channel, attempts }: Job): void {
    this.asked.push({ id, channel, attempt: attempts });
  }

  cancel(id: number, cause: CancelCause): void {
    this.cancelled.push({ id, cause });
  }

  /** Replies to the oldest that is out, or to this one. */
  reply(text: string, id = this.asked[0]?.id ?? 0): void {
    this.#forget(id);
    this.#world.here.dispatcher.answered(this.responder, id, { kind: 'reply', record: recordBlock(text) });
  }

  /** Is done with the oldest that is out, which is one-way. */
  done(id = this.asked[0]?.id ?? 0): void {
    this.#forget(id);
    this.#world.here.dispatcher.answered(this.responder, id, undefined);
  }

  fail(code: string, id = this.asked[0]?.id ?? 0): void {
    this.#forget(id);
    const error = { code, message: code, details: new Uint8Array(0) };
    this.#world.here.dispatcher.answered(this.responder, id, { kind: 'error', error });
  }

  leave(): void {
    this.#world.here.dispatcher.remove(this.responder);
  }

  enable(pattern: string): void {
    this.#world.here.dispatcher.enable(this.responder, parsePattern(pattern));
  }

  disable(pattern: string): void {
    this.#world.here.dispatcher.disable(this.responder, parsePattern(pattern) satisfies Pattern);
  }

  #forget(id: number): void {
    const at = this.asked.findIndex(request => request.id === id);
    if (at >= 0) this.asked.splice(at, 1);
  }
}

/** One request of a test and all that came of it. */
export interface Asking {
  readonly answers: Answer[];
  readonly giveUp: GiveUp;
}

export interface AskOptions {
  readonly caller?: string;
  readonly timeoutMs?: number;
  readonly once?: boolean;
  readonly key?: string;
  readonly payload?: string | Buffer;
  readonly oneWay?: boolean;
}

const QUESTION = recordBlock('question');

/** The requests of one gateway, with a clock of its own and nothing else around. */
export class World {
  nowMs = 0;
  readonly deadlines = new Deadlines(() => this.nowMs);
  readonly pending = new Pending();
  readonly here = new Here('ACME', this.deadlines, this.pending);

  responder(node: string, patterns: readonly string[], capacity = 16): TestResponder {
    const responder = new TestResponder(this, node, capacity);
    this.here.dispatcher.add(responder.responder);
    for (const pattern of patterns) responder.enable(pattern);
    return responder;
  }

  ask(channel: string, options: AskOptions = {}): Asking {
    const { caller = 'asker', timeoutMs = 1_000, once = false, key = '', payload, oneWay = false } = options;
    const answers: Answer[] = [];
    const question = {
      channel,
      senderOrg: 'ACME',
      senderNode: caller,
      record: payload === undefined ? QUESTION : recordBlock(payload),
    };
    const terms = { dueMs: this.nowMs + timeoutMs, once, key, oneWay };
    const giveUp = this.here.request(caller, question, terms, answer => answers.push(answer));
    return { answers, giveUp };
  }

  /** Lets time pass; what is due ends at its own moment. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.deadlines.expire();
  }

  close(): void {
    this.deadlines.close();
  }
}

/** What an answer says, in one word and number: `reply west 1`, `NO_RESPONDERS 0`. */
export function told(answer: Answer | undefined): string {
  if (!answer) return 'nothing';
  if (answer.kind === 'failed') return `${answer.error.reason} ${answer.attempts}`;
  const what = answer.kind === 'error' ? answer.error.code : answer.kind;
  return `${what} ${answer.node} ${answer.attempts}${answer.duplicate ? ' duplicate' : ''}`;
}
