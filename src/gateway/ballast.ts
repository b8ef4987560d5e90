/**
 * Weight that keeps the collector from running for nothing.
 *
 * Frames live in memory outside of V8's heap and are garbage a moment later. V8 counts that memory when it decides whether to mark the
 * whole heap, and takes the size of the heap as the measure: with a heap as small as a gateway's (16 MB) it marked up to twenty times
 * a second at 100 MB/s of traffic, which was a third of the gateway's work. An array of numbers raises the measure and costs nothing to
 * mark. docs/decisions/0013-ballast.md has the figures.
 */
const BALLAST_BYTES = 32 * 1024 * 1024;

let ballast: number[] | undefined;

/** Puts the weight on, once for the process. Returns it in bytes. */
export function takeBallast(): number {
  ballast ??= new Array<number>(BALLAST_BYTES / 8).fill(0.5);
  return ballast.length * 8;
}
