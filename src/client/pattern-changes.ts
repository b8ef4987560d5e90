import type { FedgateError } from '../errors.js';
import { Deferred } from './deferred.js';

/** Which patterns of a stream are enabled, and the changes that the gateway has not confirmed yet. */
export class PatternChanges {
  readonly enabled = new Set<string>();
  readonly #waiting = new Map<string, Deferred<void>[]>();
  /** Changes that the stream began with: its opening settles them. */
  readonly #said: Deferred<void>[] = [];

  /**
   * Notes what is wanted; the caller says so to the gateway. Resolves when the gateway has done it. When the connection breaks on the way, what is wanted is
   * said anew with the next stream, whose opening settles this.
   */
  add(pattern: string, enabled: boolean): Promise<void> {
    if (enabled) this.enabled.add(pattern);
    else this.enabled.delete(pattern);
    const change = new Deferred<void>();
    const key = `${enabled} ${pattern}`;
    this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), change]);
    return change.promise;
  }

  /** A stream begins. Gives what it is to say. */
  begin(): string[] {
    this.#said.push(...[...this.#waiting.values()].flat());
    this.#waiting.clear();
    return [...this.enabled];
  }

  /** The gateway has opened the stream. */
  opened(): void {
    for (const change of this.#said.splice(0)) change.resolve();
  }

  /** The gateway has done this. */
  settle(pattern: string, enabled: boolean): void {
    const key = `${enabled} ${pattern}`;
    for (const change of this.#waiting.get(key) ?? []) change.resolve();
    this.#waiting.delete(key);
  }

  /** There will be no more streams. */
  end(reason: FedgateError): void {
    for (const change of [...this.#said.splice(0), ...[...this.#waiting.values()].flat()]) change.reject(reason);
    this.#waiting.clear();
  }
}
