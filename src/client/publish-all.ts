import { FedgateError } from '../errors.js';
import { Fifo } from '../fifo.js';
import type { RecordInit } from '../wire/record-codec.js';
import type { StreamPublisher } from './publisher.js';
import type { PublishReport } from './report.js';
import { type PublishOptions, termsOf } from './terms.js';

export interface PublishAllOptions extends PublishOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each answered frame. */
  readonly onProgress?: (summary: PublishSummary) => void;
}

export interface PublishSummary {
  /** Records that were answered for. Always the first ones of the source. */
  readonly records: number;
  readonly bytes: number;
  /** Of these, how many were dropped for at least one subscription. */
  readonly dropped: number;
  /** Of these, how many were published live and nobody was there for. */
  readonly unheard: number;
  /** Of these, how many had been stored by an earlier publish and were not stored again. */
  readonly duplicates: number;
  /** Of these, how many at least one of several organisations did not take, or not to the level asked for. */
  readonly partial: number;
}

/** Records that share an answer. */
interface Group {
  readonly report: Promise<PublishReport>;
  records: number;
  bytes: number;
  settled?: PublishReport | FedgateError;
}

/** Publishes a source in order and keeps count of how far from its beginning everything was answered for. */
export async function publishAll(
  publisher: StreamPublisher,
  address: string,
  source: Iterable<RecordInit> | AsyncIterable<RecordInit>,
  options: PublishAllOptions,
): Promise<PublishSummary> {
  const { signal, onProgress } = options;
  const terms = termsOf(options);
  const progress = new Progress(onProgress);
  const take = (record: RecordInit): void =>
    progress.add(publisher.publish(address, record, terms, Date.now()), record);
  if (Symbol.asyncIterator in source) {
    for await (const record of source) {
      if (progress.failure || signal?.aborted) break;
      take(record);
      if (!publisher.hasRoom) await publisher.room();
    }
  } else {
    for (const record of source) {
      if (progress.failure || signal?.aborted) break;
      take(record);
      if (!publisher.hasRoom) await publisher.room();
    }
  }
  await progress.allSettled();
  if (progress.failure) throw progress.failure;
  return progress.summary;
}

class Progress {
  readonly #groups = new Fifo<Group>();
  readonly #onProgress: PublishAllOptions['onProgress'];
  #summary = { records: 0, bytes: 0, dropped: 0, unheard: 0, duplicates: 0, partial: 0 };
  failure: FedgateError | undefined;

  constructor(onProgress: PublishAllOptions['onProgress']) {
    this.#onProgress = onProgress;
  }

  get summary(): PublishSummary {
    return { ...this.#summary };
  }

  add(report: Promise<PublishReport>, { payload }: RecordInit): void {
    const bytes = payload.length;
    const last = this.#groups.last();
    if (last?.report === report) {
      last.records++;
      last.bytes += bytes;
      return;
    }
    const group: Group = { report, records: 1, bytes };
    this.#groups.push(group);
    report.then(
      settled => this.#settle(group, settled),
      error => this.#settle(group, error as FedgateError),
    );
  }

  async allSettled(): Promise<void> {
    await Promise.allSettled(this.#groups.toArray().map(group => group.report));
  }

  /** Only the beginning of the source counts: an answer behind one that is open or failed does not. */
  #settle(group: Group, settled: PublishReport | FedgateError): void {
    group.settled = settled;
    for (let first = this.#groups.peek(); first?.settled && !this.failure; first = this.#groups.peek()) {
      this.#groups.shift();
      if (first.settled instanceof FedgateError) this.failure = first.settled;
      else this.#count(first, first.settled);
    }
    this.#onProgress?.(this.summary);
  }

  #count({ records, bytes }: Group, { level, subscribers, dropped, duplicate, orgs }: PublishReport): void {
    this.#summary.records += records;
    this.#summary.bytes += bytes;
    if (dropped > 0) this.#summary.dropped += records;
    if (level === undefined && subscribers === 0 && dropped === 0) this.#summary.unheard += records;
    if (duplicate) this.#summary.duplicates += records;
    if (orgs?.some(({ error }) => error)) this.#summary.partial += records;
  }
}
