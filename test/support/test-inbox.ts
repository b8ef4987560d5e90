import { createHash } from 'node:crypto';
import type { Inbox, ReceivedDurable, RememberedBatch, StreamId, StreamPosition } from '../../src/durable/types.js';
import { FedgateError } from '../../src/errors.js';
import { key, prefixed } from '../../src/store/keys.js';
import { Change, type Store } from '../../src/store/store.js';
import { readRecords } from '../../src/wire/record-codec.js';

interface Line {
  readonly epoch: string;
  readonly sequence: number;
  readonly channel: string;
  readonly texts: readonly string[];
  readonly gap?: string;
}

/** The contract of the inbox with the least behind it: rows of JSON. */
export class TestInbox implements Inbox {
  readonly #store: Store;
  readonly #watermarks = new Map<string, StreamPosition>();
  #lines = 0;
  #listeners = new Set<() => void>();
  roomBytes = 64 * 1024 * 1024;

  private constructor(store: Store) {
    this.#store = store;
  }

  static async open(store: Store): Promise<TestInbox> {
    const inbox = new TestInbox(store);
    for (const row of await store.scan('test-watermark', { limit: 1000 })) {
      const { epoch, sequence } = JSON.parse(row.value.toString());
      inbox.#watermarks.set(row.key.toString(), { epoch: BigInt(epoch), sequence });
    }
    inbox.#lines = (await store.scan('test-log', { limit: 1e9 })).length;
    return inbox;
  }

  /** What was stored, in order. */
  async lines(): Promise<Line[]> {
    const rows = await this.#store.scan('test-log', { limit: 1e9 });
    return rows.map(({ value }) => JSON.parse(value.toString()));
  }

  watermark(from: StreamId): StreamPosition | undefined {
    return this.#watermarks.get(nameOf(from));
  }

  async receive(batch: ReceivedDurable, extra?: (change: Change) => void): Promise<void> {
    const { from, epoch, sequence, channel, records, withheld, refusal } = batch;
    const change = new Change();
    extra?.(change);
    if (!extra && !refusal) {
      const texts = records ? readRecords(records).map(({ text }) => text) : [];
      this.#write(change, { epoch: String(epoch), sequence, channel, texts, ...(withheld ? { gap: withheld } : {}) });
    }
    const headerSha256 = createHash('sha256').update(batch.header).digest('hex');
    const error = refusal && { reason: refusal.reason, message: refusal.message };
    change.put(
      'test-remembered',
      key(from.org, from.gateway, epoch, sequence),
      Buffer.from(JSON.stringify({ headerSha256, error })),
    );
    await this.#move(change, from, { epoch, sequence });
  }

  async skip(from: StreamId, to: StreamPosition): Promise<void> {
    const change = new Change();
    this.#write(change, { epoch: String(to.epoch), sequence: to.sequence, channel: '', texts: [], gap: 'skipped' });
    await this.#move(change, from, to);
  }

  async remembered(
    { org, gateway }: StreamId,
    epoch: bigint,
    first: number,
    last: number,
  ): Promise<readonly (RememberedBatch | undefined)[]> {
    const range = { from: key(org, gateway, epoch, first), to: key(org, gateway, epoch, last + 1) };
    const rows = await this.#store.scan('test-remembered', { ...range, limit: 1e6 });
    const known: (RememberedBatch | undefined)[] = [];
    for (const row of rows) {
      const { headerSha256, error } = JSON.parse(row.value.toString());
      const at = Number(row.key.readBigUInt64BE(row.key.length - 8)) - first;
      known[at] = {
        headerSha256: Buffer.from(headerSha256, 'hex'),
        refusal: error && new FedgateError(error.reason, error.message),
      };
    }
    return Array.from({ length: known.length }, (_, i) => known[i]);
  }

  confirmed({ org, gateway }: StreamId, { epoch, sequence }: StreamPosition): void {
    const range = { ...prefixed(key(org, gateway)), to: key(org, gateway, epoch, sequence + 1) };
    this.#store.commit(new Change().removeRange('test-remembered', range)).catch(() => undefined);
  }

  room(): number {
    return this.roomBytes;
  }

  onRoom(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setRoom(bytes: number): void {
    this.roomBytes = bytes;
    for (const listener of this.#listeners) listener();
  }

  #write(change: Change, line: Line): void {
    change.put('test-log', key(this.#lines++), Buffer.from(JSON.stringify(line)));
  }

  async #move(change: Change, from: StreamId, { epoch, sequence }: StreamPosition): Promise<void> {
    const value = Buffer.from(JSON.stringify({ epoch: String(epoch), sequence }));
    change.put('test-watermark', Buffer.from(nameOf(from)), value);
    await this.#store.commit(change);
    this.#watermarks.set(nameOf(from), { epoch, sequence });
  }
}

const nameOf = ({ org, gateway }: StreamId): string => `${org}/${gateway}`;
