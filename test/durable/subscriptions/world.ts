import type { StreamNotice } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { ConsumeResponse } from '../../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { DeadLetters } from '../../../src/durable/dead-letters/dead-letters.js';
import type { Consumer, ConsumerSink } from '../../../src/durable/subscriptions/consumer.js';
import {
  DEFAULT_LIMITS,
  type SubscriptionEvent,
  type SubscriptionLimits,
} from '../../../src/durable/subscriptions/parts.js';
import type { Wanted } from '../../../src/durable/subscriptions/spec.js';
import { type Attached, Subscriptions } from '../../../src/durable/subscriptions/subscriptions.js';
import type { StreamPosition } from '../../../src/durable/types.js';
import { FedgateError } from '../../../src/errors.js';
import { parsePattern } from '../../../src/messaging/address.js';
import type { RecordBlock } from '../../../src/wire/records.js';
import { TestLog } from '../../support/inbox.js';

/** What a consumer was sent: `offset:text` of each record, with `#count` from the second delivery on; notices by their name. */
export class TestSink implements ConsumerSink {
  readonly frames: ConsumeResponse[] = [];
  writable = true;
  #drain: () => void = () => undefined;
  #waiting: (() => void)[] = [];

  put(bytes: Buffer): void {
    this.frames.push(ConsumeResponse.decode(bytes));
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  onDrain(listener: () => void): void {
    this.#drain = listener;
  }

  drain(): void {
    this.writable = true;
    this.#drain();
  }

  get lines(): string[] {
    return this.frames.flatMap(({ records, offset, deliveryCount, notice }) =>
      notice
        ? [describeNotice(notice)]
        : records.map((record, i) => {
            const again = deliveryCount > 1 ? `#${deliveryCount}` : '';
            return `${Number(offset) + i}:${Buffer.from(record.payload)}${again}`;
          }),
    );
  }

  /** Resolves when so many lines came. */
  async until(lines: number): Promise<string[]> {
    while (this.lines.length < lines) await new Promise<void>(resolve => this.#waiting.push(resolve));
    return this.lines;
  }
}

function describeNotice({ event }: NonNullable<ConsumeResponse['notice']>): string {
  if (event?.$case === 'settled') return `settled ${event.value.ackId}`;
  if (event?.$case === 'opened') return 'opened';
  if (!event) return 'nothing';
  const { first, last } = event.value.range ?? { first: -1n, last: -1n };
  const reason = 'reason' in event.value ? ` ${event.value.reason}` : '';
  return `${event.$case} ${first}-${last}${reason}`;
}

export const wanted = (more: Partial<Wanted> = {}): Wanted => ({
  name: 'jobs',
  pattern: parsePattern('orders'),
  from: { kind: 'earliest' },
  group: false,
  ackWaitMs: undefined,
  maxDeliveries: undefined,
  ...more,
});

export interface Opened extends Attached {
  readonly sink: TestSink;
  readonly consumer: Consumer;
}

/** Subscriptions over the real log, with a store in memory and clocks set by hand. */
export class World {
  readonly log: TestLog;
  readonly deadLetters: DeadLetters;
  readonly subscriptions: Subscriptions;
  readonly notices: { readonly org: string; readonly notice: StreamNotice }[];
  readonly events: SubscriptionEvent[];
  readonly clock: { ticks: number };
  readonly kept: Map<string, RecordBlock>;

  private constructor(
    parts: Pick<World, 'log' | 'deadLetters' | 'subscriptions' | 'notices' | 'events' | 'clock' | 'kept'>,
  ) {
    this.log = parts.log;
    this.deadLetters = parts.deadLetters;
    this.subscriptions = parts.subscriptions;
    this.notices = parts.notices;
    this.events = parts.events;
    this.clock = parts.clock;
    this.kept = parts.kept;
  }

  static async open(limits: Partial<SubscriptionLimits> = {}, log?: TestLog): Promise<World> {
    const test = log ?? (await TestLog.open());
    const notices: World['notices'] = [];
    const events: SubscriptionEvent[] = [];
    const clock = { ticks: 0 };
    const kept = new Map<string, RecordBlock>();
    const { store } = test;
    const now = (): number => test.clock.now;
    const deadLetters = await DeadLetters.open({
      store,
      now,
      refetch: async (org, { epoch, sequence }: StreamPosition) => kept.get(`${org} ${epoch}/${sequence}`),
    });
    const subscriptions = await Subscriptions.open({
      store,
      log: test.log,
      deadLetters,
      notify: (_change, org, notice) => void notices.push({ org, notice }),
      now,
      ticks: () => clock.ticks + performance.now(),
      limits: { ...DEFAULT_LIMITS, ...limits },
      onEvent: event => void events.push(event),
    });
    return new World({ log: test, deadLetters, subscriptions, notices, events, clock, kept });
  }

  /** Another process on the same disk; what was not committed is lost. */
  async crash(limits: Partial<SubscriptionLimits> = {}): Promise<World> {
    await this.close();
    return World.open(limits, await this.log.reopen());
  }

  async consume(more: Partial<Wanted> = {}, node = 'shop', credit = 1_000): Promise<Opened> {
    const sink = new TestSink();
    const attached = await this.subscriptions.consume(wanted(more), node, sink, () => undefined);
    if (credit > 0) attached.consumer.credit(credit);
    return { ...attached, sink };
  }

  /** Nodes' notices in one line each. */
  get told(): string[] {
    return this.notices.map(({ org, notice: { event } }) => {
      const where = `${org} ${event?.value.streamEpoch}/${event?.value.sequence}`;
      return event?.$case === 'deadLettered'
        ? `${where} [${event.value.record}] given up: ${event.value.reason} (${event.value.deliveries})`
        : `${where} consumed`;
    });
  }

  async close(): Promise<void> {
    await this.subscriptions.close(new FedgateError('DRAINING', 'the end of the test'));
    await this.deadLetters.close();
  }
}

export const acked = async ({ consumer, sink }: Opened, first: number, last: number, ackId: bigint): Promise<void> => {
  consumer.ack([{ first, last }], ackId);
  while (!sink.lines.includes(`settled ${ackId}`)) await sink.until(sink.lines.length + 1);
};
