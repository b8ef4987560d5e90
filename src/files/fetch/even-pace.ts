/** A piece that came faster than this is handed on as fast as it can be: 40 MB/s and more. */
export const FAST_MS = 100;
/** The part of the time a piece took to come over which the one before is spread. The rest is for whoever is late. */
export const SPREAD_SHARE = 0.6;
/** The most over which a piece is spread. */
export const MAX_SPREAD_MS = 1_000;
/** Timers are not finer than this. */
const MIN_WAIT_MS = 2;

/**
 * How a piece is handed on while the next one is still coming: evenly, not at once. On a slow line a piece of 4 MiB is there at once every so
 * often, and a gateway that does nothing else until it is handed on lets everything else wait for that long, live messages first.
 *
 * `pieceMs`: what a piece takes to come; undefined when none came. Returns how long to wait, milliseconds, when so many bytes of `length` are
 * handed on.
 */
export function evenPace(
  pieceMs: number | undefined,
  length: number,
  now: () => number = () => performance.now(),
): (handedOn: number) => number {
  if (pieceMs === undefined || pieceMs < FAST_MS) return () => 0;
  const spreadMs = Math.min(pieceMs * SPREAD_SHARE, MAX_SPREAD_MS);
  const fromMs = now();
  return handedOn => {
    const waitMs = fromMs + (spreadMs * handedOn) / length - now();
    return waitMs < MIN_WAIT_MS ? 0 : waitMs;
  };
}
