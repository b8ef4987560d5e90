/** A queue whose `shift` does not move what stays behind. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  /** What `shift` would give after so many; undefined beyond the end. */
  at(index: number): T | undefined {
    return this.#items[this.#head + index];
  }

  last(): T | undefined {
    return this.length > 0 ? this.#items[this.#items.length - 1] : undefined;
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** All that is in it, in order. */
  toArray(): T[] {
    return this.#items.slice(this.#head) as T[];
  }

  /** Takes all that is in it. */
  drain(): T[] {
    const all = this.toArray();
    this.#items = [];
    this.#head = 0;
    return all;
  }
}
