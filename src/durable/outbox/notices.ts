import { StreamNotice } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { key, prefixed } from '../../store/keys.js';
import { Change, type Row } from '../../store/store.js';
import { RecordEncoder } from '../../wire/record-codec.js';
import type { Appender } from './appender.js';
import type { OutboxCore } from './core.js';
import { TABLE } from './rows.js';

/** The channel of batches that speak to the other gateway. */
export const NOTICES_CHANNEL = '$notices';
/** Notices in one batch: some 50 KiB. */
const NOTICES_PER_BATCH = 1_024;

/**
 * Tells the other organisation what became of its batches.
 *
 * A notice is put as a row into the change that makes it true. Once that is committed, the rows that are there become a batch of the
 * stream, in a change that also removes them: a notice is told exactly when its change was committed, and once.
 */
export class Notices {
  readonly #core: OutboxCore;
  readonly #appender: Appender;
  readonly #instance: Buffer;
  #number = 0;
  #dirty = false;
  #running = false;

  /** `instance`: 8 bytes of this process, so that a clock that went back never makes the same key again. */
  constructor(core: OutboxCore, appender: Appender, instance: Buffer) {
    this.#core = core;
    this.#appender = appender;
    this.#instance = instance;
  }

  append(change: Change, notice: StreamNotice): void {
    this.#number++;
    const rowKey = key(this.#core.org, this.#core.shared.now(), this.#number, this.#instance);
    change.put(TABLE.notice, rowKey, Buffer.from(StreamNotice.encode(notice).finish()));
    // Changes are committed in order: when an own one is through, so is the caller's, or it never will be.
    setImmediate(() => this.kick());
  }

  /** Looks for notices that wait, as there are after a restart or a disk that failed. */
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
      await this.#core.commit(new Change(), this.#core.state);
      this.#dirty = false;
      try {
        while (await this.#send()) {
          // One batch after the other: the next look must not see the rows of this one.
        }
      } catch (error) {
        this.#dirty = true;
        throw error;
      }
    }
  }

  async #send(): Promise<boolean> {
    const { org, shared } = this.#core;
    const rows = await shared.store.scan(TABLE.notice, { ...prefixed(key(org)), limit: NOTICES_PER_BATCH });
    if (rows.length === 0) return false;
    const remove = (change: Change): void => {
      for (const row of rows) change.remove(TABLE.notice, row.key);
    };
    const whole = rows.filter(({ damaged }) => !damaged);
    if (whole.length > 0) await this.#append(whole, remove);
    else await this.#drop(remove);
    // What such a row said is lost; it must not hold up the others.
    if (whole.length < rows.length) shared.onEvent({ kind: 'damaged-notice', org, rows: rows.length - whole.length });
    return rows.length === NOTICES_PER_BATCH;
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
      channel: NOTICES_CHANNEL,
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
