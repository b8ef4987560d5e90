import type { Letter } from './letter.js';

/**
 * How many dead letters there are. Some are counted before their change is committed, by an owner that does not say what became of it: the
 * numbers may be a few too high until the next start, and nothing rests on that but when the oldest go.
 */
export class Tally {
  readonly #bySubscription = new Map<string, number>();
  letters = 0;
  bytes = 0;

  of(subscription: string): number {
    return this.#bySubscription.get(subscription) ?? 0;
  }

  add(letter: Pick<Letter, 'direction' | 'subscription' | 'bytes'>): void {
    this.#count(letter, 1);
  }

  remove(letter: Pick<Letter, 'direction' | 'subscription' | 'bytes'>): void {
    this.#count(letter, -1);
  }

  #count({ direction, subscription, bytes }: Pick<Letter, 'direction' | 'subscription' | 'bytes'>, by: 1 | -1): void {
    this.letters += by;
    this.bytes += by * bytes;
    if (direction === 'outgoing') return;
    const count = this.of(subscription) + by;
    if (count > 0) this.#bySubscription.set(subscription, count);
    else this.#bySubscription.delete(subscription);
  }
}
