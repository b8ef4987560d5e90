import { SubscribeResponse } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { Fifo } from '../fifo.js';
import type { Pattern } from './address.js';

/** Where a subscription's frames go: the stream to the subscriber. */
export interface Sink {
  readonly writable: boolean;
  put(frame: Buffer): void;
  onDrain(listener: () => void): void;
}

export interface SubscriptionLimits {
  /** Bytes that may wait in the queue of one subscription. */
  readonly queueBytes: number;
}

interface Entry {
  readonly frame: Buffer;
  readonly records: number;
}

interface Waiter extends Entry {
  readonly settle: (taken: boolean) => void;
  readonly timer: NodeJS.Timeout;
  given: boolean;
}

/**
 * One open subscription with its bounded queue.
 *
 * A frame goes to the stream while that takes it, then to the queue. When the queue is full the frame is dropped and counted, and the
 * subscriber is told how many records it missed at the very place where they are missing. A publisher with patience has its frame held
 * instead until there is room; once a subscriber has let somebody's patience run out it is lagging, and nobody waits for it again
 * until half of its queue is empty, so that one stalled subscriber costs a publisher its patience once and not with every frame.
 */
export class LiveSubscription {
  readonly node: string;
  readonly pattern: Pattern;
  readonly sinceMs: number;
  readonly #sink: Sink;
  readonly #limits: SubscriptionLimits;
  readonly #queue = new Fifo<Entry>();
  readonly #waiters = new Fifo<Waiter>();
  #queuedBytes = 0;
  #heldBytes = 0;
  #lagging = false;
  #untoldDrops = 0;
  #delivered = 0;
  #dropped = 0;
  #closed = false;
  #onRoom: (() => void) | undefined;

  constructor(node: string, pattern: Pattern, sink: Sink, limits: SubscriptionLimits, nowMs: number) {
    this.node = node;
    this.pattern = pattern;
    this.#sink = sink;
    this.#limits = limits;
    this.sinceMs = nowMs;
    sink.onDrain(() => this.#pump());
  }

  get delivered(): number {
    return this.#delivered;
  }

  get dropped(): number {
    return this.#dropped;
  }

  get queuedBytes(): number {
    return this.#queuedBytes + this.#heldBytes;
  }

  /** Hands over a frame: true when taken, false when dropped, a promise of that while the publisher's patience lasts. */
  offer(frame: Buffer, records: number, patienceMs: number): boolean | Promise<boolean> {
    if (this.#closed) return false;
    if (this.#waiters.length === 0 && this.#hasRoom(frame)) {
      this.#accept({ frame, records });
      return true;
    }
    const mayHold = patienceMs > 0 && !this.#lagging && this.#heldBytes + frame.length <= this.#limits.queueBytes;
    if (mayHold) return this.#hold(frame, records, patienceMs);
    this.#drop(records);
    return false;
  }

  /** Whether a frame would be taken now. One that is not may be offered again when `onRoom` tells. */
  hasRoomFor(bytes: number): boolean {
    return !this.#closed && this.#waiters.length === 0 && this.#fits(bytes);
  }

  /** Hears each time the queue has become half empty after frames waited in it. One listener only. */
  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  /** Counts records that can no longer be delivered; the subscriber is told where they are missing. */
  lose(records: number): void {
    this.#drop(records);
    this.#pump();
  }

  /** Ends it; what waits is dropped. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters.drain()) this.#giveUp(waiter);
    this.#queue.drain();
    this.#queuedBytes = 0;
    this.#heldBytes = 0;
  }

  #hasRoom(frame: Buffer): boolean {
    return this.#fits(frame.length);
  }

  #fits(bytes: number): boolean {
    return this.#queue.length === 0 || this.#queuedBytes + bytes <= this.#limits.queueBytes;
  }

  #accept(entry: Entry): void {
    this.#delivered += entry.records;
    this.#tellDrops();
    if (this.#queue.length === 0 && this.#sink.writable) this.#sink.put(entry.frame);
    else this.#enqueue(entry);
  }

  #enqueue(entry: Entry): void {
    this.#queue.push(entry);
    this.#queuedBytes += entry.frame.length;
  }

  #hold(frame: Buffer, records: number, patienceMs: number): Promise<boolean> {
    return new Promise(settle => {
      const waiter: Waiter = {
        frame,
        records,
        settle,
        given: false,
        timer: setTimeout(() => this.#expire(waiter), patienceMs),
      };
      this.#heldBytes += frame.length;
      this.#waiters.push(waiter);
    });
  }

  #expire(waiter: Waiter): void {
    this.#lagging = true;
    this.#giveUp(waiter);
    while (this.#waiters.peek()?.given) this.#waiters.shift();
  }

  #giveUp(waiter: Waiter): void {
    if (waiter.given) return;
    waiter.given = true;
    clearTimeout(waiter.timer);
    this.#heldBytes -= waiter.frame.length;
    this.#drop(waiter.records);
    waiter.settle(false);
  }

  #drop(records: number): void {
    this.#dropped += records;
    this.#untoldDrops += records;
  }

  #pump(): void {
    if (this.#closed) return;
    this.#flush();
    if (this.#queuedBytes <= this.#limits.queueBytes / 2) this.#lagging = false;
    this.#admitWaiters();
    if (this.#queue.length === 0) this.#tellDrops();
    if (this.#queuedBytes <= this.#limits.queueBytes / 2) this.#onRoom?.();
  }

  #flush(): void {
    while (this.#sink.writable) {
      const entry = this.#queue.shift();
      if (!entry) return;
      this.#queuedBytes -= entry.frame.length;
      this.#sink.put(entry.frame);
    }
  }

  #admitWaiters(): void {
    for (
      let waiter = this.#waiters.peek();
      waiter && (waiter.given || this.#hasRoom(waiter.frame));
      waiter = this.#waiters.peek()
    ) {
      this.#waiters.shift();
      if (waiter.given) continue;
      waiter.given = true;
      clearTimeout(waiter.timer);
      this.#heldBytes -= waiter.frame.length;
      this.#accept(waiter);
      waiter.settle(true);
    }
  }

  /** Puts the notice of dropped records where they are missing: before the next record that is taken. */
  #tellDrops(): void {
    if (this.#untoldDrops === 0) return;
    const frame = noticeFrame({ $case: 'dropped', value: { records: BigInt(this.#untoldDrops) } });
    this.#untoldDrops = 0;
    if (this.#queue.length === 0 && this.#sink.writable) this.#sink.put(frame);
    else this.#enqueue({ frame, records: 0 });
  }
}

type NoticeEvent = NonNullable<NonNullable<SubscribeResponse['notice']>['event']>;

/** Encodes a response that is a notice. */
export const noticeFrame = (event: NoticeEvent): Buffer =>
  Buffer.from(
    SubscribeResponse.encode({ channel: '', senderOrg: '', senderNode: '', notice: { event }, records: [] }).finish(),
  );
