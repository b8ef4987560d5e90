import type { FedgateClient, PublishOptions, PublishReport, RecordInit } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { exitCodeOf } from '../../exit-codes.js';
import type { DeliveryWish } from './delivery.js';
import { publishOptions } from './report.js';

/** How far it has come. All counts are of the first lines of the input, without a hole. */
export interface LinesSummary {
  /** Lines that are done with: answered for, or stored here though not confirmed in time. */
  readonly records: number;
  readonly bytes: number;
  /** Of these, how many were stored on their way; the others went live. */
  readonly durable: number;
  /** Of these, how many the level asked for was not reached for in time. */
  readonly unconfirmed: number;
  /** Of these, how many had been stored before, and were not stored again. */
  readonly duplicates: number;
  /** Live: how many were dropped for at least one subscription. */
  readonly dropped: number;
  /** Live: how many nobody was there for. */
  readonly unheard: number;
  /** Of several organisations: how many at least one did not take. */
  readonly partial: number;
}

/** Lines that share an answer. */
interface Group {
  readonly report: Promise<PublishReport>;
  records: number;
  bytes: number;
}

/** What a line counts against the window beside its bytes: an empty one is not free. */
const LINE_OVERHEAD_BYTES = 32;
const costOf = ({ records, bytes }: Pick<Group, 'records' | 'bytes'>): number => bytes + records * LINE_OVERHEAD_BYTES;

/** Bytes published and not answered for: enough for a long line, little enough that an interruption is soon reported. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/**
 * Publishes records in order and keeps count of how far from the beginning they are safe.
 *
 * When the level asked for is not reached in time the other side is away, and waiting that long for every window would take for ever: the
 * rest is then only stored here, and counted as unconfirmed.
 */
export class LinePublisher {
  readonly #publish: (record: RecordInit, options: PublishOptions) => Promise<PublishReport>;
  readonly #onProgress: (summary: LinesSummary) => void;
  #options: PublishOptions;
  #stalled = false;
  #last: Group | undefined;
  #answered: Promise<void> = Promise.resolve();
  #unansweredBytes = 0;
  #wake: (() => void) | undefined;
  #summary = { records: 0, bytes: 0, durable: 0, unconfirmed: 0, duplicates: 0, dropped: 0, unheard: 0, partial: 0 };
  readonly #failed = new AbortController();
  readonly #refusals = new Set<number>();

  constructor(
    client: FedgateClient,
    address: string,
    { wish, patienceMs }: { readonly wish: DeliveryWish; readonly patienceMs: number },
    onProgress: (summary: LinesSummary) => void,
  ) {
    this.#publish = (record, options) => client.publish(address, record, options);
    this.#options = publishOptions(wish, patienceMs);
    this.#onProgress = onProgress;
  }

  /** Fires when a line was not taken; those behind it do not count. A source that has nothing at the moment is to end by it too. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Why organisations did not take lines: the exit code of each refusal, once. */
  get refusals(): ReadonlySet<number> {
    return this.#refusals;
  }

  get summary(): LinesSummary {
    return { ...this.#summary };
  }

  /** Takes all that a source yields; resolves when all of it is answered for. Throws the first refusal. */
  async publishAll(source: AsyncIterable<RecordInit>): Promise<void> {
    try {
      for await (const record of source) {
        if (this.failed.aborted) break;
        this.#take(record);
        if (this.#unansweredBytes > WINDOW_BYTES) await this.#room();
      }
    } finally {
      await this.#answered;
    }
    this.failed.throwIfAborted();
  }

  #take(record: RecordInit): void {
    const report = this.#publish(record, this.#options);
    const bytes = record.payload.length;
    this.#unansweredBytes += costOf({ records: 1, bytes });
    if (this.#last?.report === report) {
      this.#last.records++;
      this.#last.bytes += bytes;
      return;
    }
    const group: Group = { report, records: 1, bytes };
    this.#last = group;
    // Answers are looked at in the order of the input: what is behind an open one does not count yet.
    const before = this.#answered;
    report.catch(() => undefined);
    this.#answered = before.then(() => this.#settle(group));
  }

  async #settle(group: Group): Promise<void> {
    try {
      const report = await group.report;
      // One of several organisations is away: the others need not wait for it with every window.
      if (report.orgs?.some(({ error }) => error?.reason === 'ACK_TIMEOUT')) this.#stall(group, report);
      else this.#count(group, report);
    } catch (error) {
      if (error instanceof FedgateError && error.reason === 'ACK_TIMEOUT') this.#stall(group);
      else this.#failed.abort(error);
    }
    this.#unansweredBytes -= costOf(group);
    if (this.#unansweredBytes <= WINDOW_BYTES / 2 || this.failed.aborted) this.#wake?.();
  }

  #stall(group: Group, report?: PublishReport): void {
    this.#stalled = true;
    this.#options = { ...this.#options, ack: 'stored' };
    this.#count(group, { duplicate: false, subscribers: 0, dropped: 0, ...report, level: 'stored' });
  }

  #count(
    { records, bytes }: Group,
    report: Pick<PublishReport, 'level' | 'duplicate' | 'subscribers' | 'dropped' | 'orgs'>,
  ): void {
    const { level, duplicate, subscribers, dropped, orgs = [] } = report;
    // Only the beginning of the input counts: an answer behind a refusal does not.
    if (this.failed.aborted) return;
    this.#summary.records += records;
    this.#summary.bytes += bytes;
    if (level !== undefined) this.#summary.durable += records;
    else if (dropped > 0) this.#summary.dropped += records;
    else if (subscribers === 0) this.#summary.unheard += records;
    if (this.#stalled && level === 'stored') this.#summary.unconfirmed += records;
    if (duplicate) this.#summary.duplicates += records;
    const refused = orgs.flatMap(({ error }) => (error && error.reason !== 'ACK_TIMEOUT' ? [error] : []));
    if (refused.length > 0) this.#summary.partial += records;
    for (const error of refused) this.#refusals.add(exitCodeOf(error));
    this.#onProgress(this.summary);
  }

  #room(): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve;
    });
  }
}
