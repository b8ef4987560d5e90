import { SubscribeResponse } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { Fifo } from '../fifo.js';
import type { Pattern } from './address.js';
import { type FrameJoins, JOINED_BYTES, joinable, type LiveFrame } from './live-frame.js';
import type { Patience, Waiting } from './patience.js';

/** Where a subscription's frames go: the stream to the subscriber. */
export interface Sink {
  /** Frames that were put and that the transport has not taken. */
  readonly onTheWay: number;
  put(frame: Buffer): void;
  /** Runs the listener each time the transport has taken a frame. */
  onTaken(listener: () => void): void;
}

export interface SubscriptionLimits {
  /** Bytes that may wait in the queue of one subscription. */
  readonly queueBytes: number;
}

export interface LiveSubscriptionOptions {
  readonly node: string;
  readonly pattern: Pattern;
  readonly sink: Sink;
  readonly limits: SubscriptionLimits;
  /** Shared with other subscriptions that get the same frames. */
  readonly joins: FrameJoins;
  readonly nowMs: number;
}

/** Frames that a subscription has on their way out of the process at once; small ones one at a time, joined. */
const MAX_ON_THE_WAY = 4;

interface Waiter extends Waiting {
  readonly frame: LiveFrame;
  readonly patience: Patience;
  given: boolean;
}

/**
 * One open subscription with its bounded queue.
 *
 * A frame goes to the stream while that takes it, then to the queue. A small one also waits there while one before it is still on its
 * way out of the process, and goes joined with what else came meanwhile: each write to a stream costs as much as many small records.
 * When the queue is full the frame is dropped and counted, and the
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
  readonly #joins: FrameJoins;
  readonly #queue = new Fifo<LiveFrame>();
  readonly #waiters = new Fifo<Waiter>();
  #queuedBytes = 0;
  #heldBytes = 0;
  #lagging = false;
  #untoldDrops = 0;
  #delivered = 0;
  #dropped = 0;
  #closed = false;
  #onRoom: (() => void) | undefined;

  constructor({ node, pattern, sink, limits, joins, nowMs }: LiveSubscriptionOptions) {
    this.node = node;
    this.pattern = pattern;
    this.#sink = sink;
    this.#limits = limits;
    this.#joins = joins;
    this.sinceMs = nowMs;
    sink.onTaken(() => this.#pump());
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

  /** Hands over a frame: true when taken, false when dropped; undefined when it waits as long as the publisher's patience lasts. */
  offer(frame: LiveFrame, patience?: Patience): boolean | undefined {
    if (this.#closed) return false;
    if (this.#waiters.length === 0 && this.#fits(frame.bytes.length)) {
      this.#accept(frame);
      return true;
    }
    if (patience && !this.#lagging && this.#heldBytes + frame.bytes.length <= this.#limits.queueBytes) {
      this.#hold(frame, patience);
      return undefined;
    }
    this.#drop(frame.records);
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

  #fits(bytes: number): boolean {
    return this.#queue.length === 0 || this.#queuedBytes + bytes <= this.#limits.queueBytes;
  }

  #accept(frame: LiveFrame): void {
    this.#delivered += frame.records;
    this.#tellDrops();
    this.#send(frame);
  }

  #send(frame: LiveFrame): void {
    if (this.#queue.length === 0 && this.#mayGo(frame.bytes.length)) return this.#sink.put(frame.bytes);
    this.#queue.push(frame);
    this.#queuedBytes += frame.bytes.length;
  }

  /** Whether so many bytes are worth a write of their own now. */
  #mayGo(bytes: number): boolean {
    const { onTheWay } = this.#sink;
    return onTheWay === 0 || (onTheWay < MAX_ON_THE_WAY && bytes >= JOINED_BYTES / 2);
  }

  #hold(frame: LiveFrame, patience: Patience): void {
    const waiter: Waiter = { frame, patience, given: false, expire: () => this.#expire(waiter) };
    this.#heldBytes += frame.bytes.length;
    this.#waiters.push(waiter);
    patience.add(waiter);
  }

  #expire(waiter: Waiter): void {
    if (waiter.given) return;
    this.#lagging = true;
    this.#giveUp(waiter);
    while (this.#waiters.peek()?.given) this.#waiters.shift();
  }

  #giveUp(waiter: Waiter): void {
    if (waiter.given) return;
    waiter.given = true;
    this.#heldBytes -= waiter.frame.bytes.length;
    this.#drop(waiter.frame.records);
    waiter.patience.settle(false);
  }

  #drop(records: number): void {
    this.#dropped += records;
    this.#untoldDrops += records;
  }

  #pump(): void {
    if (this.#closed) return;
    const waited = this.#queue.length > 0 || this.#waiters.length > 0;
    this.#flush();
    const halfEmpty = this.#queuedBytes <= this.#limits.queueBytes / 2;
    if (halfEmpty) this.#lagging = false;
    this.#admitWaiters();
    if (this.#queue.length === 0) this.#tellDrops();
    if (waited && this.#queuedBytes <= this.#limits.queueBytes / 2) this.#onRoom?.();
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const { frames, bytes } = this.#nextRun();
      if (!this.#mayGo(bytes)) return;
      for (const { bytes } of frames) {
        this.#queue.shift();
        this.#queuedBytes -= bytes.length;
      }
      this.#sink.put(this.#joins.join(frames));
    }
  }

  /** The frames at the head of the queue that can go as one. */
  #nextRun(): { readonly frames: readonly LiveFrame[]; readonly bytes: number } {
    const frames: LiveFrame[] = [];
    let bytes = 0;
    for (let frame = this.#queue.peek(); frame; frame = this.#queue.at(frames.length)) {
      const [first] = frames;
      if (first && !(bytes + frame.bytes.length <= JOINED_BYTES && joinable(first, frame))) break;
      frames.push(frame);
      bytes += frame.bytes.length;
    }
    return { frames, bytes };
  }

  #admitWaiters(): void {
    for (
      let waiter = this.#waiters.peek();
      waiter && (waiter.given || this.#fits(waiter.frame.bytes.length));
      waiter = this.#waiters.peek()
    ) {
      this.#waiters.shift();
      if (waiter.given) continue;
      waiter.given = true;
      this.#heldBytes -= waiter.frame.bytes.length;
      this.#accept(waiter.frame);
      waiter.patience.settle(true);
    }
  }

  /** Puts the notice of dropped records where they are missing: before the next record that is taken. */
  #tellDrops(): void {
    if (this.#untoldDrops === 0) return;
    const bytes = noticeFrame({ $case: 'dropped', value: { records: BigInt(this.#untoldDrops) } });
    this.#untoldDrops = 0;
    this.#send({ bytes, header: 0, records: 0 });
  }
}

type NoticeEvent = NonNullable<NonNullable<SubscribeResponse['notice']>['event']>;

/** Encodes a response that is a notice. */
export const noticeFrame = (event: NoticeEvent): Buffer =>
  Buffer.from(
    SubscribeResponse.encode({ channel: '', senderOrg: '', senderNode: '', notice: { event }, records: [] }).finish(),
  );
