import type { StreamNotice } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { OrgName } from '../../identity/names.js';
import type { Change, Store } from '../../store/store.js';
import type { RecordBlock } from '../../wire/records.js';
import type { Log, LogEntry } from '../types.js';
import type { ConsumedHere } from './consumed-here.js';

/** What subscriptions need of the rest of the gateway. */
export interface SubscriptionParts {
  readonly store: Store;
  readonly log: Log;
  readonly deadLetters: DeadLetterKeeper;
  /** Puts a notice for another organisation into a change that is committed in this turn. Never throws. */
  readonly notify: (change: Change, org: OrgName, notice: StreamNotice) => void;
  /** Epoch milliseconds: for what is out of date. */
  readonly now: () => number;
  /** Milliseconds of a clock that never steps: for ack waits and delays. */
  readonly ticks: () => number;
  readonly limits: SubscriptionLimits;
  readonly onEvent: (event: SubscriptionEvent) => void;
}

export interface SubscriptionLimits {
  readonly subscriptions: number;
  /** Consumers of one group. */
  readonly consumers: number;
  /** Records and pieces of the log that one subscription may have unsettled before it reads no further. */
  readonly unsettledRecords: number;
  readonly unsettledPieces: number;
  /** Bytes of records that one subscription has in memory before they are delivered. */
  readonly aheadBytes: number;
  /** The same of all subscriptions together; one that has none may always read one entry. */
  readonly aheadBytesOfAll: number;
}

const MIB = 1024 * 1024;

/** 100 thousand unsettled records are a fifth of a second of the fastest consumer; their row stays under a mebibyte. */
export const DEFAULT_LIMITS: SubscriptionLimits = {
  subscriptions: 10_000,
  consumers: 1_000,
  unsettledRecords: 100_000,
  unsettledPieces: 10_000,
  aheadBytes: 4 * MIB,
  aheadBytesOfAll: 64 * MIB,
};

/** What the gateway's operator should see in the log. */
export type SubscriptionEvent =
  | { readonly kind: 'created' | 'deleted' | 'moved'; readonly name: string; readonly offset: number }
  | {
      readonly kind: 'dead-lettered';
      readonly name: string;
      readonly records: number;
      readonly channel: string;
      readonly reason: string;
    }
  /** Reading the log or storing the position failed; its consumers' streams ended with that. */
  | { readonly kind: 'failed'; readonly name: string; readonly error: unknown };

/** Says whether the change that something was put into was committed. */
export type Outcome = (committed: boolean) => void;

/** A record that a subscription gives up. */
export interface GivenUp {
  readonly subscription: string;
  readonly entry: LogEntry;
  readonly offset: number;
  readonly reason: string;
  readonly deliveries: number;
  /** One record; undefined when it cannot be read any more. */
  readonly record: RecordBlock | undefined;
}

/** A dead letter that its subscription is to deliver again. */
export interface Redriven {
  readonly id: number;
  readonly subscription: string;
  /** As it was in the log: one record. */
  readonly entry: LogEntry;
}

export interface DeadLetterKeeper {
  add(change: Change, letter: GivenUp): Outcome;
  /** A redriven one was acknowledged, or is out of date. */
  settled(change: Change, id: number): Outcome;
  /** A redriven one was given up once more. */
  again(change: Change, id: number, reason: string, deliveries: number): Outcome;
  /** Those that a subscription is to deliver again. */
  redriven(subscription: string): Promise<readonly Redriven[]>;
  records(id: number): Promise<RecordBlock | undefined>;
  /** Subscriptions that do not exist deliver nothing again. */
  orphans(exists: (subscription: string) => boolean): Promise<void>;
}

/** What all subscriptions share. */
export interface Shared extends SubscriptionParts {
  readonly ahead: { bytes: number };
  readonly told: ToldEntries;
  readonly here: ConsumedHere;
}

/** The entries whose senders were told lately that they were consumed: by the first subscription to do so. */
export class ToldEntries {
  readonly #offsets = new Set<number>();
  /** As many as a busy hour brings with notices asked for; telling a sender twice does no harm. */
  static readonly MAX = 65_536;

  has(offset: number): boolean {
    return this.#offsets.has(offset);
  }

  /** False: somebody did it before. */
  claim(offset: number): boolean {
    if (this.#offsets.has(offset)) return false;
    this.#offsets.add(offset);
    for (const oldest of this.#offsets) {
      if (this.#offsets.size <= ToldEntries.MAX) break;
      this.#offsets.delete(oldest);
    }
    return true;
  }

  /** The change in which the sender was told was not committed. */
  release(offset: number): void {
    this.#offsets.delete(offset);
  }
}
