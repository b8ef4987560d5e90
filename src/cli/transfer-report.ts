import type { TransferProgress } from '../client/index.js';
import { type CliEnv, printJson } from './env.js';
import { Pace, showTransfer } from './progress.js';

/** How often a transfer reports with --json, milliseconds. */
const REPORT_MS = 1_000;

/** What hears how a transfer goes, until it is over. */
export type ProgressReport = Pick<TransferReport, 'onProgress' | 'stop'>;

/** Tells how the files of a folder go: with --json each by itself, on a terminal all of them by one bar. */
export class FolderReport {
  readonly #env: CliEnv;
  readonly #json: boolean;
  readonly #totalBytes: number;
  readonly #bar: ReturnType<typeof showTransfer>;
  #doneBytes = 0;
  #resumedBytes = 0;

  constructor(env: CliEnv, json: boolean, files: readonly { readonly size: number }[]) {
    this.#env = env;
    this.#json = json;
    this.#totalBytes = files.reduce((sum, { size }) => sum + size, 0);
    this.#bar = showTransfer(env);
  }

  /** Of one of its files. `facts`: what stands in every event. */
  file(facts: object): ProgressReport {
    if (this.#json) return new TransferReport(this.#env, true, facts);
    let before = { doneBytes: 0, resumedBytes: 0 };
    const onProgress = (now: TransferProgress): void => {
      this.#doneBytes += now.doneBytes - before.doneBytes;
      this.#resumedBytes += now.resumedBytes - before.resumedBytes;
      before = now;
      const [doneBytes, totalBytes, resumedBytes] = [this.#doneBytes, this.#totalBytes, this.#resumedBytes];
      this.#bar.update({ doneBytes, totalBytes, resumedBytes });
    };
    return { onProgress, stop: () => undefined };
  }

  /** One of its files is there already. */
  skip(size: number): void {
    this.#doneBytes += size;
    this.#resumedBytes += size;
  }

  /** Takes the bar away, until there is more to tell. */
  clear(): void {
    this.#bar.stop();
  }
}

/** Tells how one transfer goes: a bar on a terminal, or with --json an event when it starts and one per second. */
export class TransferReport {
  readonly #env: CliEnv;
  /** Undefined: for people. */
  readonly #facts: object | undefined;
  readonly #bar: ReturnType<typeof showTransfer>;
  #pace: Pace | undefined;
  #nextMs = 0;

  /** `facts`: what stands in every event. */
  constructor(env: CliEnv, json: boolean, facts: object) {
    this.#env = env;
    this.#facts = json ? facts : undefined;
    this.#bar = showTransfer(env);
  }

  readonly onProgress = (progress: TransferProgress): void => {
    if (this.#facts) this.#event(progress);
    else this.#bar.update(progress);
  };

  stop(): void {
    this.#bar.stop();
  }

  #event({ doneBytes, totalBytes, resumedBytes }: TransferProgress): void {
    const now = performance.now();
    if (!this.#pace) {
      this.#pace = new Pace(resumedBytes);
      this.#print({ event: 'started', ...this.#facts, totalBytes, resumedBytes });
    } else if (now >= this.#nextMs) {
      const bytesPerSecond = this.#pace.rate(doneBytes);
      this.#print({ event: 'progress', ...this.#facts, doneBytes, totalBytes, bytesPerSecond });
    } else return;
    this.#nextMs = now + REPORT_MS;
  }

  /** One line per second at most: nothing piles up that would have to be waited for. */
  #print(event: object): void {
    printJson(this.#env, event).catch(() => undefined);
  }
}
