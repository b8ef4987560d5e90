/** Frames of one Fetch that lie in its stream's buffer at most. */
export const MAX_UNFLUSHED = 4;
/** Of all of them together, as long as there are no more calls than that: 4 MiB. */
export const MAX_UNFLUSHED_TOGETHER = 16;
/** With more calls than this, frames are small: one waits for longer then, and what waits for long costs V8 more than its bytes. */
export const FEW_CALLS = 8;
export const SMALL_FRAME_BYTES = 64 * 1024;

/** What many Fetch calls keep in memory for their readers: few may keep some frames each, many a small one each. */
export class FetchRoom {
  #calls = 0;

  /** A call begins. Returns its end. */
  enter(): () => void {
    this.#calls++;
    return () => {
      this.#calls--;
    };
  }

  /** How many frames a call may have in its stream's buffer now. */
  get framesEach(): number {
    return Math.min(MAX_UNFLUSHED, Math.max(1, Math.floor(MAX_UNFLUSHED_TOGETHER / this.#calls)));
  }

  /** Bytes for the next frame, of those that there are. */
  frameBytes(available: number): number {
    return this.#calls > FEW_CALLS ? Math.min(available, SMALL_FRAME_BYTES) : available;
  }
}
