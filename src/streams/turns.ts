/** Something that has frames to write now and then. */
export interface Job {
  /** The next frame; undefined: there is none at the moment. */
  next(): Buffer | undefined;
}

/** What frames are written to: see FrameWriter. */
export interface Out {
  readonly writable: boolean;
  put(frame: Buffer): void;
}

/**
 * Those who write to the same call or lane, one frame each in turn, as long as it takes frames. Whoever has much to say waits for nobody who is
 * stuck, and nobody waits for it longer than one frame of each other.
 */
export class Turns {
  readonly #out: Out;
  readonly #jobs = new Set<Job>();
  #pumping = false;

  constructor(out: Out) {
    this.#out = out;
  }

  /** The job has something to write. */
  ready(job: Job): void {
    this.#jobs.add(job);
    this.pump();
  }

  remove(job: Job): void {
    this.#jobs.delete(job);
  }

  /** Writes what can be written. To be called when the call or lane takes frames again. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#out.writable) {
        const [job] = this.#jobs;
        if (!job) return;
        this.#jobs.delete(job);
        const frame = job.next();
        if (frame === undefined) continue;
        this.#jobs.add(job);
        this.#out.put(frame);
      }
    } finally {
      this.#pumping = false;
    }
  }
}
