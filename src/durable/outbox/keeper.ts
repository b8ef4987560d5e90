import { BatchHeader } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { OutboxRow } from '../../../gen/ts/fedgate/store/v1/outbox.js';
import { FedgateError } from '../../errors.js';
import { key, prefixed } from '../../store/keys.js';
import { Change, type Row } from '../../store/store.js';
import { compare } from '../position.js';
import type { StreamPosition, Withheld } from '../types.js';
import type { OutboxCore } from './core.js';
import {
  batchRow,
  bodiesOf,
  encodeOutboxRow,
  lostRow,
  positionKey,
  positionOf,
  sizeOf,
  TABLE,
  withheldNumber,
} from './rows.js';
import { after, beginEpoch, newest, type StreamState } from './state.js';

/** Rows that one change touches at most: ~1 ms of a commit. */
const STEP_ROWS = 512;
/** Rows among which a body is looked for that is left. Most have one. */
const LOOKED_AT = 16;

/** Holds back what must not be sent any more, and forgets what was kept long enough. */
export class Keeper {
  readonly #core: OutboxCore;

  constructor(core: OutboxCore) {
    this.#core = core;
  }

  /** Withholds batches that wait, whatever else is known of them. */
  withhold(positions: readonly StreamPosition[], why: Withheld, more = new Change()): Promise<void> {
    return this.#core.serially(async () => {
      const { store } = this.#core.shared;
      const found = await Promise.all(positions.map(position => batchRow(store, this.#core.org, position)));
      await this.#withholdRows(
        found.filter(row => row !== undefined),
        why,
        more,
      );
    });
  }

  /** Withholds all that waits behind what the lane was given. */
  async purge(): Promise<{ readonly batches: number; readonly records: number }> {
    const total = { batches: 0, records: 0 };
    for (let from: Buffer | undefined = this.#purgeFrom(); from; ) {
      const begin = from;
      from = await this.#core.serially(async () => {
        const range = { from: begin, to: prefixed(key(this.#core.org)).to };
        const rows = await this.#core.shared.store.scan(TABLE.batch, { ...range, limit: STEP_ROWS });
        const done = await this.#withholdRows(rows, 'purged', new Change());
        total.batches += done.batches;
        total.records += done.records;
        const last = rows.at(-1);
        return rows.length === STEP_ROWS && last ? positionKey(this.#core.org, after(positionOf(last.key))) : undefined;
      });
    }
    return total;
  }

  /** Forgets batches with a receipt that are too old or too much, a bounded piece per call. Resolves with whether there is more. */
  trim(): Promise<boolean> {
    return this.#core.serially(async () => {
      const { state, org, shared } = this.#core;
      const { acked } = state;
      if (!acked) return false;
      const range = { from: key(org), to: positionKey(org, after(acked)) };
      const rows = await shared.store.scan(TABLE.batch, { ...range, limit: STEP_ROWS });
      const change = new Change();
      const forgotten = this.#forget(rows, state.keptBytes, change);
      const { last, recount } = forgotten;
      if (!last) return false;
      await this.#releaseBefore(last, change);
      const keptBytes = recount ? await this.#bytesBetween(last, acked) : forgotten.keptBytes;
      const gone = { from: key(org), to: positionKey(org, after(last)) };
      change.removeRange(TABLE.receipt, gone).removeRange(TABLE.outcome, gone);
      await this.#core.commit(change, { ...this.#core.state, keptBytes });
      return recount || rows.length === STEP_ROWS;
    });
  }

  /** Moves all that waits in the newest epoch to a higher one: the receiver knows an epoch that lies between. */
  async renumber(epoch: bigint, change: Change): Promise<StreamState> {
    const { org, shared, state } = this.#core;
    const old = newest(state).epoch;
    const from = state.acked?.epoch === old ? state.acked.sequence + 1 : 1;
    let next = 1;
    for (let begin = positionKey(org, { epoch: old, sequence: from }); ; ) {
      const range = { from: begin, to: positionKey(org, { epoch: old + 1n, sequence: 0 }) };
      const rows = await shared.store.scan(TABLE.batch, { ...range, limit: STEP_ROWS });
      for (const stored of rows) {
        const rowKey = stored.key;
        const position = { epoch, sequence: next++ };
        const row = stored.damaged ? lostRow(shared.seal, org, position, shared.now()) : OutboxRow.decode(stored.value);
        const sealed = shared.seal.renumber(row.header, position);
        const certificateSha256 = shared.seal.certificate.sha256;
        change.remove(TABLE.batch, rowKey);
        change.put(TABLE.batch, positionKey(org, position), encodeOutboxRow({ ...row, ...sealed, certificateSha256 }));
        if (row.expireMs > 0n)
          change.put(TABLE.expiry, key(row.expireMs, org, epoch, position.sequence), Buffer.alloc(0));
        shared.cache.drop(org, positionOf(rowKey));
      }
      const last = rows.at(-1);
      if (rows.length < STEP_ROWS || !last) break;
      begin = positionKey(org, after(positionOf(last.key)));
    }
    change.put(TABLE.certificate, shared.seal.certificate.sha256, shared.seal.certificate.der);
    const closed = { ...state, epochs: state.epochs.filter(known => known.epoch !== old) };
    const begun = beginEpoch(closed, epoch, shared.store.id);
    return { ...begun, epochs: [...begun.epochs.slice(0, -1), { epoch, next }] };
  }

  async #withholdRows(
    rows: readonly Row[],
    why: Withheld,
    change: Change,
  ): Promise<{ readonly batches: number; readonly records: number }> {
    const { state } = this.#core;
    const done: StreamPosition[] = [];
    const lost: StreamPosition[] = [];
    let records = 0;
    let bytes = 0;
    for (const stored of rows) {
      const rowKey = stored.key;
      const position = positionOf(rowKey);
      const settled = state.acked && compare(position, state.acked) <= 0;
      if (settled) continue;
      if (stored.damaged) {
        const { org, shared } = this.#core;
        const row = lostRow(shared.seal, org, position, shared.now());
        change.put(TABLE.certificate, shared.seal.certificate.sha256, shared.seal.certificate.der);
        change.put(TABLE.batch, rowKey, encodeOutboxRow(row));
        lost.push(position);
        continue;
      }
      const row = OutboxRow.decode(stored.value);
      if (row.withheld !== 0) continue;
      const size = sizeOf(row);
      records += size.records;
      bytes += size.bytes;
      if (row.body) change.release(row.body);
      change.put(TABLE.batch, rowKey, encodeOutboxRow({ ...row, body: undefined, withheld: withheldNumber(why) }));
      done.push(position);
    }
    if (change.empty) return { batches: 0, records: 0 };
    const { state: now } = this.#core;
    await this.#core.commit(change, { ...now, records: now.records - records, bytes: now.bytes - bytes });
    this.#withheld(done, why, records);
    this.#withheld(lost, 'lost', lost.length);
    return { batches: done.length + lost.length, records };
  }

  #withheld(positions: readonly StreamPosition[], why: Withheld, records: number): void {
    const { org, shared, received, consumed } = this.#core;
    this.#core.rewritten++;
    for (const position of positions) {
      const error = withheldError(org, why);
      shared.cache.drop(org, position);
      received.reject(position, error);
      consumed.reject(position, error);
    }
    if (positions.length > 0) shared.onEvent({ kind: 'withheld', org, why, batches: positions.length, records });
  }

  /** What the lane was given is on its way: nobody could say whether it arrives. */
  #purgeFrom(): Buffer {
    const { org, committed, reading } = this.#core;
    const handed = reading ? this.#core.handed : undefined;
    const { acked } = committed;
    const from = handed && (!acked || compare(handed, acked) > 0) ? handed : acked;
    return from ? positionKey(org, after(from)) : key(org);
  }

  #forget(
    rows: readonly Row[],
    kept: number,
    change: Change,
  ): { readonly last: StreamPosition | undefined; readonly keptBytes: number; readonly recount: boolean } {
    const { keepSentMs, keepSentBytes } = this.#core.shared.limits;
    const oldMs = this.#core.shared.now() - keepSentMs;
    let keptBytes = kept;
    let last: StreamPosition | undefined;
    let recount = false;
    for (const stored of rows) {
      const rowKey = stored.key;
      if (stored.damaged) {
        // Nothing of it is of use. How much it held is not known.
        last = positionOf(rowKey);
        recount = true;
        change.remove(TABLE.batch, rowKey);
        this.#core.shared.onEvent({ kind: 'damaged', org: this.#core.org, ...last });
        continue;
      }
      // What is kept must be known before anything else goes for it.
      if (recount) break;
      const row = OutboxRow.decode(stored.value);
      if (Number(row.storedMs) > oldMs && keptBytes <= keepSentBytes) break;
      if (row.body) change.release(row.body);
      keptBytes = Math.max(0, keptBytes - sizeOf(row).bytes);
      change.remove(TABLE.batch, rowKey);
      last = positionOf(rowKey);
    }
    return { last, keptBytes, recount };
  }

  /** Releases bodies whose rows were damaged: those that lie before the first that is left, or all when no batch is. */
  async #releaseBefore(last: StreamPosition, change: Change): Promise<void> {
    const { org, shared, state } = this.#core;
    // Taken before the look: what is published meanwhile lies behind it.
    const end = state.batches === 0 ? shared.store.reserve(bodiesOf(org), 0) : undefined;
    const range = { from: positionKey(org, after(last)), to: prefixed(key(org)).to };
    const rows = await shared.store.scan(TABLE.batch, { ...range, limit: LOOKED_AT });
    const bodies = rows.flatMap(row => (row.damaged ? [] : (OutboxRow.decode(row.value).body ?? [])));
    const [first = rows.length === 0 ? end : undefined] = bodies;
    if (first) change.releaseBefore(first);
  }

  /** Bytes of batches behind one position, up to another. */
  async #bytesBetween(last: StreamPosition, to: StreamPosition): Promise<number> {
    const { org, shared } = this.#core;
    const range = { to: positionKey(org, after(to)) };
    let bytes = 0;
    for (let from = positionKey(org, after(last)); ; ) {
      const rows = await shared.store.scan(TABLE.batch, { ...range, from, limit: STEP_ROWS });
      for (const row of rows) if (!row.damaged) bytes += sizeOf(OutboxRow.decode(row.value)).bytes;
      const end = rows.at(-1);
      if (!end || rows.length < STEP_ROWS) return bytes;
      from = positionKey(org, after(positionOf(end.key)));
      await new Promise(resolve => setImmediate(resolve));
    }
  }
}

/** Whether a batch is of no use any more. */
export const isExpired = (expireMs: number, nowMs: number): boolean => expireMs !== 0 && expireMs <= nowMs;

export function withheldError(org: string, why: Withheld): FedgateError {
  const metadata = { org };
  if (why === 'expired')
    return new FedgateError('EXPIRED', `the records were not sent to ${org} within their time to live`, { metadata });
  if (why === 'purged')
    return new FedgateError('PURGED', `the operator purged the records for ${org} before they were sent`, { metadata });
  return new FedgateError('BODY_UNREADABLE', `the records for ${org} could not be read from the disk any more`, {
    metadata,
  });
}

export const contentSha256 = (header: Uint8Array): Uint8Array => BatchHeader.decode(header).contentSha256;
