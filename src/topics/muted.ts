import type { FedgateError } from '../errors.js';
import { MAX_MUTED } from './limits.js';
import type { AuthorId, Evidence } from './types.js';

/** An author of which nothing is taken on a topic. */
export interface Mute {
  readonly topic: string;
  readonly author: AuthorId;
  readonly error: FedgateError;
  /** Milliseconds since 1970; 0: until the gateway starts again. */
  readonly untilMs: number;
  readonly evidence: Evidence | undefined;
}

const nameOf = (topic: string, { org, gateway }: AuthorId): string => `${topic} ${org}/${gateway}`;

/** Authors of which nothing is taken. */
export class Muted {
  readonly #mutes = new Map<string, Mute>();

  /** Undefined: its records are taken. */
  get(topic: string, author: AuthorId, now: number): Mute | undefined {
    if (this.#mutes.size === 0) return undefined;
    const name = nameOf(topic, author);
    const mute = this.#mutes.get(name);
    if (!mute || mute.untilMs === 0 || mute.untilMs > now) return mute;
    this.#mutes.delete(name);
    return undefined;
  }

  /** The oldest go when there are too many: who deserves it is soon found again. */
  add(mute: Mute): void {
    const [oldest] = this.#mutes.keys();
    if (this.#mutes.size >= MAX_MUTED && oldest !== undefined) this.#mutes.delete(oldest);
    this.#mutes.set(nameOf(mute.topic, mute.author), mute);
  }

  of(topic: string, now: number): Mute[] {
    return [...this.#mutes.values()].filter(mute => mute.topic === topic && (mute.untilMs === 0 || mute.untilMs > now));
  }
}
