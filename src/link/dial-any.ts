import { FedgateError } from '../errors.js';
import type { DialTarget } from './dial.js';
import type { Link } from './link.js';

/** Dials at once that are under way to hints about one organisation. */
export const MAX_DIALS_AT_ONCE = 4;

interface DialAny {
  dial(target: DialTarget, signal: AbortSignal): Promise<Link>;
  /** Hears of each target that led nowhere, unless it was given up. */
  onFailure(target: DialTarget): void;
  readonly signal: AbortSignal;
}

/** The first link that one of several targets leads to; the other dials are given up. Throws what the first target said when all fail. */
export async function dialAny(
  targets: readonly DialTarget[],
  { dial, onFailure, signal }: DialAny,
): Promise<Link | undefined> {
  const left = [...targets];
  const errors = new Map<DialTarget, unknown>();
  const running = new Set<AbortController>();
  let won: Link | undefined;
  const runner = async (): Promise<void> => {
    for (let target = left.shift(); target && !won && !signal.aborted; target = left.shift()) {
      // One for each: what ends the other dials must not end the one that won.
      const attempt = new AbortController();
      running.add(attempt);
      try {
        const link = await dial(target, attempt.signal);
        if (won || signal.aborted) link.close(new FedgateError('CANCELLED', 'another way led there first'));
        else won = link;
      } catch (error) {
        if (!won && !signal.aborted) onFailure(target);
        errors.set(target, error);
      } finally {
        running.delete(attempt);
        if (won) for (const other of running) other.abort();
      }
    }
  };
  const giveUp = (): void => {
    for (const attempt of running) attempt.abort();
  };
  signal.addEventListener('abort', giveUp, { once: true });
  await Promise.all(Array.from({ length: Math.min(MAX_DIALS_AT_ONCE, left.length) }, runner));
  signal.removeEventListener('abort', giveUp);
  if (won) return won;
  throw targets.map(target => errors.get(target)).find(error => error !== undefined);
}
