import { key, prefixed } from '../../store/keys.js';
import { Change, type Row } from '../../store/store.js';
import { RecordEncoder } from '../../wire/record-codec.js';
import {
  APPROVALS_CHANNEL,
  type ControlChannel,
  MAX_CONTROL_BYTES,
  NOTICES_CHANNEL,
  REQUESTS_CHANNEL,
} from '../control.js';
import type { Appender } from './appender.js';
import type { OutboxCore } from './core.js';
import { TABLE } from './rows.js';

/** Notices have some 50 bytes, statements up to 64 KiB: what is read for one batch. */
const NOTICES_PER_BATCH = 1_024;
const EXCHANGES_PER_BATCH = 64;
/** Where the rows of a channel wait. */
const ROWS: { readonly [channel in ControlChannel]: { readonly table: string; readonly perBatch: number } } = {
  [NOTICES_CHANNEL]: { table: TABLE.notice, perBatch: NOTICES_PER_BATCH },
  [APPROVALS_CHANNEL]: { table: TABLE.approval, perBatch: EXCHANGES_PER_BATCH },
  [REQUESTS_CHANNEL]: { table: TABLE.request, perBatch: EXCHANGES_PER_BATCH },
};
/** Bytes of the records of one batch; one record may be as large by itself. */
const MAX_BATCH_BYTES = MAX_CONTROL_BYTES;

/**
 * Speaks to the other organisation's gateway on one of the reserved channels.
 *
 * A record is put as a row into the change that makes it true. Once that is committed, the rows that are there become a batch of the
 * stream, in a change that also removes them: a record is told exactly when its change was committed, and once.
 */
export class Control {
  readonly #core: OutboxCore;
  readonly #appender: Appender;
  readonly #instance: Buffer;
  readonly #channel: ControlChannel;
  readonly #table: string;
  readonly #perBatch: number;
  #number = 0;
  #dirty = false;
  #running = false;

  /** `instance`: 8 bytes of this process, so that a clock that went back never makes the same key again. */
  constructor(channel: ControlChannel, core: OutboxCore, appender: Appender, instance: Buffer) {
    this.#channel = channel;
    this.#table = ROWS[channel].table;
    this.#perBatch = ROWS[channel].perBatch;
    this.#core = core;
    this.#appender = appender;
    this.#instance = instance;
  }

  /** Throws a RangeError for a record that could never be sent. */
  append(change: Change, payload: Uint8Array): void {
    if (payload.length > MAX_CONTROL_BYTES)
      throw new RangeError(`a record of ${payload.length} bytes for ${this.#channel}`);
    this.#number++;
    const rowKey = key(this.#core.org, this.#core.shared.now(), this.#number, this.#instance);
    change.put(this.#table, rowKey, Buffer.from(payload));
    // Changes are committed in order: when an own one is through, so is the caller's, or it never will be.
    setImmediate(() => this.kick());
  }

  /** Looks for records that wait, as there are after a restart or a disk that failed. */
  kick(): void {
    this.#dirty = true;
    if (this.#running) return;
    this.#running = true;
    this.#run()
      .catch(error => this.#core.shared.onEvent({ kind: 'failed', org: this.#core.org, error }))
      .finally(() => {
        this.#running = false;
      });
  }

  /** What a failure left behind is tried again. */
  retry(): void {
    if (this.#dirty) this.kick();
  }

  async #run(): Promise<void> {
    while (this.#dirty) {
      // Before the change that says how far things are: what is put meanwhile may be committed after it.
      this.#dirty = false;
      try {
        await this.#core.commit(new Change(), this.#core.state);
        while (await this.#send()) {
          // One batch after the other: the next look must not see the rows of this one.
        }
      } catch (error) {
        this.#dirty = true;
        throw error;
      }
    }
  }

  /** Resolves with whether there may be more. */
  async #send(): Promise<boolean> {
    const { org, shared } = this.#core;
    const found = await shared.store.scan(this.#table, { ...prefixed(key(org)), limit: this.#perBatch });
    const rows = fitting(found);
    if (rows.length === 0) return false;
    const remove = (change: Change): void => {
      for (const row of rows) change.remove(this.#table, row.key);
    };
    const whole = rows.filter(({ damaged }) => !damaged);
    if (whole.length > 0) await this.#append(whole, remove);
    else await this.#drop(remove);
    const damaged = rows.length - whole.length;
    // What such a row said is lost; it must not hold up the others.
    if (damaged > 0) shared.onEvent({ kind: 'damaged-notice', org, channel: this.#channel, rows: damaged });
    return rows.length < found.length || found.length === this.#perBatch;
  }

  async #append(rows: readonly Row[], remove: (change: Change) => void): Promise<void> {
    const { shared } = this.#core;
    const encoder = new RecordEncoder(
      rows.reduce((sum, { value }) => sum + value.length + 32, 0),
      0,
    );
    for (const { value } of rows) encoder.add({ payload: value, timeMs: shared.now() }, shared.now());
    const { bytes, start, end } = encoder.finish();
    const outgoing = {
      channel: this.#channel,
      senderNode: shared.seal.gateway,
      records: { bytes: bytes.subarray(start, end), count: rows.length },
      ttlMs: 0,
      notifyConsumed: false,
    };
    await this.#appender.appendOwn(outgoing, remove);
  }

  async #drop(remove: (change: Change) => void): Promise<void> {
    const change = new Change();
    remove(change);
    await this.#core.commit(change, this.#core.state);
  }
}

/** The first rows, as many as one batch takes; damaged ones take no room. */
function fitting(rows: readonly Row[]): readonly Row[] {
  let bytes = 0;
  const over = rows.findIndex((row, i) => {
    bytes += row.damaged ? 0 : row.value.length;
    return i > 0 && bytes > MAX_BATCH_BYTES;
  });
  return over < 0 ? rows : rows.slice(0, over);
}
