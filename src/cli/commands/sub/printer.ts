import type { DurableBatch, DurableMessage, DurableNotice } from '../../../client/index.js';
import { plural } from '../../counts.js';
import { type CliEnv, printJson, say, write } from '../../env.js';
import { type Format, joined } from './formats.js';
import { describeNotice, noticeJson } from './notices.js';

/** Prints records and acknowledges them, never one that was not written out, and never more than `count`. */
export class Printer {
  readonly #env: CliEnv;
  readonly #count: number;
  readonly #format: Format;
  readonly #json: boolean;
  /** Notices that are being written. A batch waits for those before it. */
  #telling: Promise<void> = Promise.resolve();
  /** Acknowledgements without an answer. */
  readonly #open = new Set<Promise<void>>();
  #printed = 0;
  #acknowledged = 0;

  constructor(
    env: CliEnv,
    { count, format, json }: { readonly count: number; readonly format: Format; readonly json: boolean },
  ) {
    this.#env = env;
    this.#count = count;
    this.#format = format;
    this.#json = json;
  }

  get printed(): number {
    return this.#printed;
  }

  /** Whether enough were printed. */
  get done(): boolean {
    return this.#printed >= this.#count;
  }

  /** Prints a notice: with --json among the records, otherwise for people. */
  tell(notice: DurableNotice): void {
    if (!this.#json) return say(this.#env, `fedgate: ${describeNotice(notice)}`);
    const telling = this.#telling.then(() => printJson(this.#env, noticeJson(notice)));
    // A reader that went away is noticed by the next batch, or at the end.
    telling.catch(() => undefined);
    this.#telling = telling;
  }

  /** Prints a batch, or as much of it as is still wanted. */
  async print(batch: DurableBatch): Promise<void> {
    await this.#telling;
    const wanted: DurableMessage[] = [];
    const out: (string | Uint8Array)[] = [];
    for (const message of batch) {
      if (this.#printed + wanted.length >= this.#count) break;
      this.#format(message, out);
      wanted.push(message);
    }
    // Only what was taken counts: a reader that goes away between gets the rest again.
    await write(this.#env.stdout, joined(out));
    this.#printed += wanted.length;
    if (wanted.length === batch.count) this.#acknowledge(batch.ack(), wanted.length);
    else for (const message of wanted) this.#acknowledge(message.ack(), 1);
  }

  /** Resolves when every acknowledgement is settled or never will be. */
  async settled(): Promise<void> {
    await this.#telling;
    await Promise.all(this.#open);
  }

  /** How it ended, for whoever interrupted it. */
  describe(): string {
    const unknown = this.#printed - this.#acknowledged;
    const rest = unknown > 0 ? `; ${plural(unknown, 'more was', 'more were')} printed and may come again` : '';
    const were = this.#acknowledged === 1 ? 'was' : 'were';
    return `interrupted; ${plural(this.#acknowledged, 'record')} ${were} acknowledged, what follows waits for the next time${rest}`;
  }

  #acknowledge(settled: Promise<void>, records: number): void {
    const open = settled.then(
      () => {
        this.#acknowledged += records;
      },
      // The connection broke: it is printed, and comes again if it does not count.
      () => undefined,
    );
    this.#open.add(open);
    void open.then(() => this.#open.delete(open));
  }
}
