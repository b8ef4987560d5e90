import { Fifo } from '../fifo.js';
import type { Change } from './store.js';

interface Waiting {
  readonly change: Change;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Bytes of bodies that one group writes: many changes share a sync, and a change at the end of the line waits for few megabytes. */
const GROUP_BYTES = 4 * 1024 * 1024;
/** Changes in a group: bounds the rows of one transaction. */
const GROUP_CHANGES = 1024;
/** How long a patient change waits for others, milliseconds: some times what a commit takes on a disk of today. */
const PATIENCE_MS = 10;
/** Rounds of refusals that follow each other without letting the event loop turn. */
const ROUNDS_PER_TURN = 16;

const bodyBytes = (change: Change): number => {
  let bytes = 0;
  for (const { ref } of change.bodies) bytes += ref.length;
  return bytes;
};

/**
 * Puts changes into groups. One group is carried out at a time; all that is handed in meanwhile makes the next. A change that is patient
 * makes no group of its own while another may come soon that it can go along with.
 *
 * When a group fails, all that was handed in before its failure was delivered is refused too, because it may have been made from what the
 * caller held to be committed. Who hands a refused change in again at once may be refused again; waiting a moment helps.
 */
export class CommitQueue {
  readonly #apply: (group: readonly Change[]) => Promise<void>;
  readonly #waiting = new Fifo<Waiting>();
  #busy = false;
  /** Whether what waits is to leave as soon as it can. */
  #hurried = false;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void) | undefined;

  /** `apply` carries a group out, all or nothing. */
  constructor(apply: (group: readonly Change[]) => Promise<void>) {
    this.#apply = apply;
  }

  /** Resolves and rejects in the order of the calls. */
  commit(change: Change, patient = false): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ change, resolve, reject });
      if (patient) this.#timer ??= setTimeout(() => this.#hurry(), PATIENCE_MS);
      else this.#hurry();
    });
  }

  /** Resolves when nothing is waiting or under way. */
  async idle(): Promise<void> {
    while (this.#busy || this.#waiting.length > 0) {
      this.#hurry();
      await new Promise<void>(resolve => {
        const earlier = this.#idle;
        this.#idle = () => {
          earlier?.();
          resolve();
        };
      });
    }
  }

  #hurry(): void {
    this.#calm();
    if (this.#waiting.length === 0) return;
    this.#hurried = true;
    if (this.#busy) return;
    this.#busy = true;
    // What the same turn hands in goes along.
    queueMicrotask(() => void this.#run());
  }

  #calm(): void {
    this.#hurried = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #run(): Promise<void> {
    while (this.#hurried) {
      const group = this.#nextGroup();
      try {
        await this.#apply(group.map(({ change }) => change));
      } catch (error) {
        this.#refuse(error, group, 0);
        return;
      }
      for (const { resolve } of group) resolve();
    }
    this.#rest();
  }

  #rest(): void {
    this.#busy = false;
    const idle = this.#idle;
    this.#idle = undefined;
    idle?.();
  }

  #nextGroup(): Waiting[] {
    const group: Waiting[] = [];
    let bytes = 0;
    for (let next = this.#waiting.peek(); next; next = this.#waiting.peek()) {
      // Which rows a range covers is read from what is committed: whatever came before must be.
      const apart = next.change.ranges.length > 0;
      bytes += bodyBytes(next.change);
      if (group.length > 0 && (apart || bytes > GROUP_BYTES || group.length >= GROUP_CHANGES)) break;
      group.push(next);
      this.#waiting.shift();
    }
    if (this.#waiting.length === 0) this.#calm();
    return group;
  }

  /**
   * A rejection reaches its caller in a later microtask; until the last one has, whatever is handed in is refused in a further round.
   * `#busy` stays set, so nothing starts meanwhile. The check runs just before the last caller hears: what that one hands in is taken.
   */
  #refuse(error: unknown, group: readonly Waiting[], round: number): void {
    const refused = [...group, ...this.#waiting.drain()];
    this.#calm();
    const last = refused.pop();
    for (const { reject } of refused) reject(error);
    const check = (): void => {
      if (this.#waiting.length > 0) this.#refuse(error, [], round + 1);
      else this.#rest();
    };
    if (round % ROUNDS_PER_TURN === ROUNDS_PER_TURN - 1) setImmediate(check);
    else queueMicrotask(check);
    last?.reject(error);
  }
}
