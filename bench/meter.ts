import { setTimeout as sleep } from 'node:timers/promises';

/** What a subscriber counted over a stretch of time. */
export interface Rate {
  readonly messages: number;
  readonly seconds: number;
}

export interface MeasureParams {
  /** Time before the count begins. */
  readonly warmupMs: number;
  readonly ms: number;
}

/** Counts where messages arrive. The clock is the subscriber's own, so the orchestrator's delays do not matter. */
export class Meter {
  #messages = 0;

  add(messages: number): void {
    this.#messages += messages;
  }

  get messages(): number {
    return this.#messages;
  }

  async measure({ warmupMs, ms }: MeasureParams): Promise<Rate> {
    await this.#firstMessage();
    await sleep(warmupMs);
    const from = { messages: this.#messages, time: performance.now() };
    await sleep(ms);
    return { messages: this.#messages - from.messages, seconds: (performance.now() - from.time) / 1000 };
  }

  async #firstMessage(): Promise<void> {
    for (let waited = 0; this.#messages === 0; waited += 20) {
      if (waited > 10_000) throw new Error('no message arrived in 10 s');
      await sleep(20);
    }
  }
}

/** The value that this share of the measurements stays below. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** How measurements of time lie, milliseconds. */
export interface Spread {
  readonly measurements: number;
  readonly p50: number;
  readonly p99: number;
}

export const spread = (values: readonly number[]): Spread => ({
  measurements: values.length,
  p50: median(values),
  p99: quantile(values, 0.99),
});
