import type { Held } from './held.js';

/** Which consumer has records of a key out: no other may get any until these are settled or came back. */
export class KeyOwners {
  readonly #owners = new Map<number, { readonly consumer: number; out: number }>();

  get size(): number {
    return this.#owners.size;
  }

  of(key: number): number | undefined {
    return this.#owners.get(key)?.consumer;
  }

  take(held: Held, first: number, last: number, consumer: number): void {
    if (!held.keys) return;
    for (let offset = first; offset <= last; offset++) {
      const key = held.keys[offset - held.entry.offset] ?? 0;
      if (key === 0) continue;
      const owner = this.#owners.get(key);
      if (owner) owner.out++;
      else this.#owners.set(key, { consumer, out: 1 });
    }
  }

  drop(held: Held, first: number, last: number): void {
    if (!held.keys) return;
    for (let offset = first; offset <= last; offset++) {
      const key = held.keys[offset - held.entry.offset] ?? 0;
      const owner = this.#owners.get(key);
      if (owner && --owner.out === 0) this.#owners.delete(key);
    }
  }
}
