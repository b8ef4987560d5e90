import { createHash } from 'node:crypto';
import type { HoldLimits } from '../../src/durable/log/holds.js';
import { InboxLog, type InboxLogEvent, type InboxLogOptions } from '../../src/durable/log/inbox-log.js';
import type { LogEntry, OutgoingRecords, ReceivedDurable, StreamId } from '../../src/durable/types.js';
import type { OrgName } from '../../src/identity/names.js';
import { type Pattern, parsePattern } from '../../src/messaging/address.js';
import type { Store } from '../../src/store/store.js';
import { RECORDS_FIELD, type RecordBlock } from '../../src/wire/records.js';
import { FieldWriter } from '../../src/wire/writer.js';
import { MemoryStore } from './memory-store.js';

export const ACME: StreamId = { org: 'ACME' as OrgName, gateway: 'gw1' };
export const EVERYTHING = parsePattern('**');
export const LIMITS: HoldLimits = { bytesPerPeer: 1_000_000, bytesPerChannel: 1_000_000, windowBytes: 100_000 };

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** Records with these texts as payloads. */
export const block = (...texts: readonly string[]): RecordBlock => {
  const writer = new FieldWriter();
  for (const text of texts) writer.bytes(RECORDS_FIELD, new FieldWriter().bytes(6, Buffer.from(text)).view());
  return { bytes: Buffer.from(writer.view()), count: texts.length };
};

export const outgoing = (
  channel: string,
  records: RecordBlock,
  more: Partial<OutgoingRecords> = {},
): OutgoingRecords => ({
  channel,
  senderNode: 'shop',
  records,
  ttlMs: 0,
  notifyConsumed: false,
  ...more,
});

export const received = (sequence: number, more: Partial<ReceivedDurable> = {}): ReceivedDurable => {
  const records = more.withheld ? undefined : (more.records ?? block(`record ${sequence}`));
  return {
    from: ACME,
    epoch: 1n,
    sequence,
    channel: 'orders',
    senderNode: 'shop',
    header: Buffer.from(`header ${more.epoch ?? 1n}/${sequence}`),
    signature: Buffer.from('signature'),
    certificate: { sha256: sha256(Buffer.from('certificate')), der: Buffer.from('certificate') },
    contentSha256: sha256(records?.bytes ?? Buffer.alloc(0)),
    recordCount: records?.count ?? 1,
    expireMs: 0,
    sentMs: 0,
    notifyConsumed: false,
    withheld: undefined,
    refusal: undefined,
    ...more,
    records,
  };
};

/** A log over a store in memory, whose clock is set by hand. */
export class TestLog {
  readonly store: MemoryStore;
  readonly log: InboxLog;
  readonly events: InboxLogEvent[];
  readonly clock: { now: number };

  private constructor(store: MemoryStore, log: InboxLog, events: InboxLogEvent[], clock: { now: number }) {
    this.store = store;
    this.log = log;
    this.events = events;
    this.clock = clock;
  }

  static async open(
    options: Partial<InboxLogOptions> & { store?: Store } = {},
    clock = { now: 1_000 },
  ): Promise<TestLog> {
    const store = (options.store as MemoryStore | undefined) ?? new MemoryStore();
    const events: InboxLogEvent[] = [];
    const log = await InboxLog.open({
      ownOrg: 'GLOBEX' as OrgName,
      limits: LIMITS,
      retention: [],
      now: () => clock.now,
      onEvent: event => void events.push(event),
      ...options,
      store,
    });
    return new TestLog(store, log, events, clock);
  }

  /** The same disk, another process. */
  async reopen(options: Partial<InboxLogOptions> = {}): Promise<TestLog> {
    await this.log.close();
    return TestLog.open({ ...options, store: new MemoryStore(this.store.disk) }, this.clock);
  }

  async all(pattern: Pattern = EVERYTHING, from = 0, limit = 100): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    for (let at = from; ; ) {
      const page = await this.log.read(at, pattern, limit);
      entries.push(...page.entries);
      if (page.next >= this.log.end) return entries;
      at = page.next;
    }
  }

  /** What the log holds, in one line each: `offset channel: bytes of the records`. */
  async lines(pattern: Pattern = EVERYTHING): Promise<string[]> {
    const lines: string[] = [];
    for (const entry of await this.all(pattern)) {
      const records = await this.log.records(entry);
      const what = entry.gap ? `${entry.gap.kind}` : `${records?.count} x ${records?.bytes.length}`;
      lines.push(`${entry.offset} ${entry.channel}: ${what}`);
    }
    return lines;
  }
}
