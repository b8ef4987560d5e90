import { type LiveFrame, liveFrame } from '../messaging/live-frame.js';
import type { LiveSubscription } from '../messaging/live-subscription.js';
import type { Router } from '../messaging/router.js';
import type { Log, LogEntry } from './types.js';

export interface LiveFeedOptions {
  readonly log: Log;
  readonly router: Router;
  readonly now: () => number;
  /** Hears of what no reader foresaw: a log that cannot be read. */
  readonly onFailure: (error: unknown) => void;
}

/** How many entries are read from the log at a time. */
const PAGE = 64;
/** More than what stands before the records of a frame: channel and sender. */
const FRAME_HEADER_BYTES = 1024;

/**
 * Lets live subscriptions hear what is stored, once it is stored.
 *
 * A record in the log need not be dropped when a live subscriber is slow: the log is the queue. A subscription that takes no more is
 * left at its place in the log, and goes on from there when it has room. Only what retention removes meanwhile is lost to it, and it
 * is told. So each subscription costs its own bounded queue and one number.
 */
export class LiveFeed {
  readonly #options: LiveFeedOptions;
  readonly #readers = new Map<LiveSubscription, Reader>();
  /** The frame of the newest entry: mostly several subscriptions want it one after the other. */
  #newest: { readonly offset: number; readonly frame: LiveFrame } | undefined;

  constructor(options: LiveFeedOptions) {
    this.#options = options;
    const { log, router } = options;
    router.watch({
      added: subscription => this.#readers.set(subscription, new Reader(this, options, subscription)),
      removed: subscription => {
        this.#readers.get(subscription)?.close();
        this.#readers.delete(subscription);
      },
    });
    log.onAppended(({ channel }) => {
      if (this.#readers.size === 0) return;
      for (const subscription of router.targets(channel)) this.#readers.get(subscription)?.run();
    });
  }

  /** What a subscriber is sent for an entry; undefined when its records are lost. */
  async frameOf(entry: LogEntry): Promise<LiveFrame | undefined> {
    if (this.#newest?.offset === entry.offset) return this.#newest.frame;
    const records = await this.#options.log.records(entry);
    if (!records) return undefined;
    const frame = liveFrame(entry, records);
    this.#newest = { offset: entry.offset, frame };
    return frame;
  }
}

/** One live subscription's place in the log. */
class Reader {
  readonly #feed: LiveFeed;
  readonly #options: LiveFeedOptions;
  readonly #subscription: LiveSubscription;
  /** The first offset that was not handed over. */
  #next: number;
  #running = false;
  /** Something came while it ran. */
  #again = false;
  #closed = false;

  constructor(feed: LiveFeed, options: LiveFeedOptions, subscription: LiveSubscription) {
    this.#feed = feed;
    this.#options = options;
    this.#subscription = subscription;
    this.#next = options.log.end;
    subscription.onRoom(() => this.run());
  }

  close(): void {
    this.#closed = true;
  }

  /** Hands over what there is, as far as there is room. */
  run(): void {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    this.#catchUp()
      .catch(this.#options.onFailure)
      .finally(() => {
        this.#running = false;
        // What came after the last look and before this.
        if (this.#again && !this.#closed) this.run();
      });
  }

  async #catchUp(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      while (!this.#closed && this.#next < this.#options.log.end) {
        if (!(await this.#page())) break;
      }
    }
  }

  /** One page of entries; false when the subscription takes no more for now. */
  async #page(): Promise<boolean> {
    const { log } = this.#options;
    if (this.#next < log.first) {
      // Counts other channels too where the pattern is narrower: what was removed can no longer be asked.
      this.#subscription.lose(log.first - this.#next);
      this.#next = log.first;
    }
    const { entries, next } = await log.read(this.#next, this.#subscription.pattern, PAGE);
    for (const entry of entries) {
      if (this.#closed) return false;
      if (!this.#subscription.hasRoomFor(entry.bytes + FRAME_HEADER_BYTES)) return false;
      await this.#hand(entry);
      this.#next = entry.offset + entry.count;
    }
    this.#next = next;
    return true;
  }

  async #hand(entry: LogEntry): Promise<void> {
    const { now, router } = this.#options;
    const expired = entry.expireMs > 0 && entry.expireMs <= now();
    const frame = entry.gap || expired ? undefined : await this.#feed.frameOf(entry);
    if (this.#closed) return;
    if (!frame) return this.#subscription.lose(entry.count);
    if (this.#subscription.offer(frame)) router.counted(entry.count);
  }
}
