import type { Origin } from '../wire/messaging-frames.js';
import type { RecordBlock } from '../wire/records.js';
import type { InboxState } from './inbox.js';
import { liveFrame } from './live-frame.js';
import type { LiveSubscription } from './live-subscription.js';
import { Patience } from './patience.js';
import { PatternIndex } from './pattern.js';

/** Records of one channel of the own organisation, from a verified sender. */
export interface Delivery extends Origin {
  readonly records: RecordBlock;
  readonly patienceMs: number;
}

/** To how many subscriptions records were handed, and for how many they were dropped. */
export interface DeliveryOutcome {
  readonly subscribers: number;
  readonly dropped: number;
  /** Of a direct message: whether the node was there. */
  readonly inbox?: InboxState | undefined;
}

export interface RouterWatcher {
  added(subscription: LiveSubscription): void;
  removed(subscription: LiveSubscription): void;
}

const NOBODY: DeliveryOutcome = { subscribers: 0, dropped: 0 };
const CACHED_CHANNELS = 10_000;

/** Hands records to the live subscriptions of their channel. Order: a subscription gets frames in the order of the calls. */
export class Router {
  readonly #count: (handed: number, dropped: number) => void;
  readonly #index = new PatternIndex<LiveSubscription>();
  readonly #open = new Set<LiveSubscription>();
  readonly #cache = new Map<string, readonly LiveSubscription[]>();
  readonly #watchers = new Set<RouterWatcher>();

  /** `count` hears how many records were handed to subscriptions, and how many were dropped, of each delivery. */
  constructor(count: (handed: number, dropped: number) => void = () => undefined) {
    this.#count = count;
  }

  add(subscription: LiveSubscription): void {
    this.#index.add(subscription.pattern, subscription);
    this.#open.add(subscription);
    this.#cache.clear();
    for (const watcher of this.#watchers) watcher.added(subscription);
  }

  remove(subscription: LiveSubscription): void {
    this.#index.remove(subscription.pattern, subscription);
    this.#open.delete(subscription);
    this.#cache.clear();
    subscription.close();
    for (const watcher of this.#watchers) watcher.removed(subscription);
  }

  /** Hears of subscriptions that come and go. */
  watch(watcher: RouterWatcher): void {
    this.#watchers.add(watcher);
  }

  /** The subscriptions that want a channel. */
  targets(channel: string): readonly LiveSubscription[] {
    return this.#targets(channel);
  }

  /** Counts records that reached a subscription by another way than `deliver`. */
  counted(handed: number): void {
    this.#count(handed, 0);
  }

  get subscriptions(): ReadonlySet<LiveSubscription> {
    return this.#open;
  }

  /** A promise only while a publisher's patience is in use, so that the common case costs no turn of the loop. */
  deliver(delivery: Delivery): DeliveryOutcome | Promise<DeliveryOutcome> {
    const targets = this.#targets(delivery.channel);
    if (targets.length === 0) return NOBODY;
    const frame = liveFrame(delivery, delivery.records);
    const patience = delivery.patienceMs > 0 ? new Patience(delivery.patienceMs) : undefined;
    let subscribers = 0;
    for (const target of targets) if (target.offer(frame, patience)) subscribers++;
    const outcome = (late: number): DeliveryOutcome => {
      const taken = subscribers + late;
      return this.#counted({ subscribers: taken, dropped: targets.length - taken }, delivery);
    };
    if (!patience || patience.over) return outcome(0);
    return patience.settled().then(() => outcome(patience.taken));
  }

  #counted(outcome: DeliveryOutcome, { records }: Delivery): DeliveryOutcome {
    this.#count(outcome.subscribers * records.count, outcome.dropped * records.count);
    return outcome;
  }

  #targets(channel: string): readonly LiveSubscription[] {
    const known = this.#cache.get(channel);
    if (known) return known;
    const found = [...this.#index.match(channel)];
    if (this.#cache.size >= CACHED_CHANNELS) this.#cache.clear();
    this.#cache.set(channel, found);
    return found;
  }
}
