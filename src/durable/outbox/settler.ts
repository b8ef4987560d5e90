import { BatchHeader } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { OutboxRow, OutcomeRow, ReceiptRow } from '../../../gen/ts/fedgate/store/v1/outbox.js';
import { FedgateError } from '../../errors.js';
import { Change } from '../../store/store.js';
import { readRecords } from '../../wire/record-codec.js';
import { isControlChannel } from '../control.js';
import { compare, formatPosition } from '../position.js';
import { LOST_CHANNEL, type StreamPosition, type VerifiedReceipt } from '../types.js';
import type { OutboxCore } from './core.js';
import type { Reader } from './reader.js';
import { batchRow, positionKey, positionOf, sentBatchOf, sizeOf, TABLE } from './rows.js';
import { digest } from './seal.js';
import { receipted, type StreamState, unreceipted } from './state.js';

/** A batch that a receipt covers. */
interface Covered extends StreamPosition {
  /** Undefined: its row is damaged, and nothing is left to compare a receipt with. */
  readonly header: Uint8Array | undefined;
  readonly records: number;
  readonly bytes: number;
}

/** A receipt that was found right, and what it covers of what is known here. */
interface Checked {
  readonly receipt: VerifiedReceipt;
  readonly acked: StreamPosition;
  readonly covered: readonly Covered[];
}

/** What is to be done once a change is committed. */
type Afterwards = (() => void)[];

interface Waiting {
  readonly receipt: VerifiedReceipt;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Takes receipts, in order. Those that come while one change is under way share the next.
 *
 * Whoever waits for a receipt hears of it before it is stored: it says what the other side has stored, and that stays true if this side
 * dies before the receipt is on its own disk. The batch then counts as one that waits, the peer says in its hello that it has it, and
 * sends the receipt again. Who was refused hears after the commit, which is what makes the dead letter.
 */
export class Settler {
  readonly #core: OutboxCore;
  readonly #reader: Reader;
  #waiting: Waiting[] = [];
  #running = false;

  constructor(core: OutboxCore, reader: Reader) {
    this.#core = core;
    this.#reader = reader;
  }

  /** As Outbox.settle. */
  settle(receipt: VerifiedReceipt): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ receipt, resolve, reject });
      // Those who wait for this one must not wait out the patience of the one before: what comes to the store takes that along.
      if (this.#core.settling) this.#core.shared.store.commit(new Change()).catch(() => undefined);
      if (this.#running) return;
      this.#running = true;
      void this.#core.serially(() => this.#settleAll());
    });
  }

  async #settleAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      await this.#settleGroup(group);
    }
    this.#running = false;
  }

  async #settleGroup(group: readonly Waiting[]): Promise<void> {
    const change = new Change();
    const right: Checked[] = [];
    const afterwards: Afterwards = [];
    let taken = 0;
    let failure: { readonly error: unknown } | undefined;
    let view = this.#core.state;
    for (const { receipt } of group) {
      try {
        const late = this.#isLate(receipt);
        const checked = late ? await this.#checkLate(receipt) : await this.#check(view, receipt);
        await this.#record(change, checked, afterwards);
        taken++;
        if (late) continue;
        view = receipted(view, checked.acked, { batches: 0, records: 0, bytes: 0 });
        right.push(checked);
      } catch (error) {
        // What follows one that is wrong cannot be right.
        failure = { error };
        break;
      }
    }
    try {
      await this.#commit(change, right);
      for (const tell of afterwards) tell();
      for (const { resolve } of group.slice(0, taken)) resolve();
    } catch (error) {
      failure = { error };
      taken = 0;
    }
    for (const { reject } of group.slice(taken)) reject(failure?.error);
  }

  /** Whether a receipt is for what was settled without one: both sides said hello before they knew that of each other. */
  #isLate({ epoch, first, last }: VerifiedReceipt): boolean {
    const { passed } = this.#core;
    if (!passed) return false;
    return compare({ epoch, sequence: first }, passed.from) >= 0 && compare({ epoch, sequence: last }, passed.to) <= 0;
  }

  /** It is evidence, and may tell of refusals; nothing waits for it any more. Rows that are still there must be those it speaks of. */
  async #checkLate(receipt: VerifiedReceipt): Promise<Checked> {
    const { epoch, first, last } = receipt;
    const covered = await this.#load({ epoch, sequence: first }, last);
    for (const batch of covered) this.#compare(batch, receipt.headerSha256[batch.sequence - first]);
    return { receipt, acked: { epoch, sequence: last }, covered };
  }

  /** Throws what is wrong with a receipt that comes when `state` is reached. */
  async #check(state: StreamState, receipt: VerifiedReceipt): Promise<Checked> {
    const { epoch, first } = receipt;
    const expected = unreceipted(state);
    if (epoch !== expected.epoch || first !== expected.sequence) {
      const what = `a receipt from ${formatPosition({ epoch, sequence: first })} on`;
      throw new FedgateError('RECEIPT_INVALID', `${what} came where ${formatPosition(expected)} is next`);
    }
    const acked = { epoch, sequence: this.#end(state, receipt) };
    const covered = await this.#load(expected, acked.sequence);
    if (covered.length !== acked.sequence - first + 1)
      throw new FedgateError('INTERNAL', 'a batch that waits has no row');
    for (const [i, batch] of covered.entries()) this.#compare(batch, receipt.headerSha256[i]);
    return { receipt, acked, covered };
  }

  /** The last batch of ours that it covers. Throws WATERMARK_INVALID for what was never sent. */
  #end({ epochs }: StreamState, { epoch, last }: VerifiedReceipt): number {
    const at = { epoch, sequence: last };
    if (!this.#core.wasSent(at)) {
      throw new FedgateError('WATERMARK_INVALID', `a receipt for ${formatPosition(at)}, which was never sent`);
    }
    // A restored store does not know all that the peer has of an epoch that is over.
    const end = epochs.find(known => known.epoch === epoch)?.next ?? last + 1;
    return Math.min(last, end - 1);
  }

  #compare(batch: Covered, sha256: Uint8Array | undefined): void {
    if (!batch.header) return;
    const { peerHas } = this.#core;
    const mayBeUnknown = peerHas !== undefined && compare(batch, peerHas) <= 0;
    if (sha256 && sha256.length === 0 && mayBeUnknown) return;
    if (sha256 && digest(batch.header).equals(sha256)) return;
    // Its row was damaged after it had been sent, and replaced: the receipt may well speak of what it was before.
    if (sha256 && BatchHeader.decode(batch.header).channel === LOST_CHANNEL) return;
    throw new FedgateError(
      'RECEIPT_INVALID',
      `the receipt for ${formatPosition(batch)} is for another batch than was sent`,
    );
  }

  async #load({ epoch, sequence }: StreamPosition, last: number): Promise<Covered[]> {
    const { org, shared } = this.#core;
    const cached: Covered[] = [];
    for (let at = sequence; at <= last; at++) {
      const batch = shared.cache.get(org, { epoch, sequence: at });
      if (!batch) break;
      const { header, records } = batch;
      cached.push({ epoch, sequence: at, header, records: records.count, bytes: records.bytes.length });
    }
    if (cached.length === last - sequence + 1) return cached;
    const from = positionKey(org, { epoch, sequence });
    const to = positionKey(org, { epoch, sequence: last + 1 });
    const rows = await shared.store.scan(TABLE.batch, { from, to, limit: last - sequence + 1 });
    return rows.map(stored => {
      const at = positionOf(stored.key);
      if (stored.damaged) return { epoch: at.epoch, sequence: at.sequence, header: undefined, records: 0, bytes: 0 };
      const row = OutboxRow.decode(stored.value);
      const { records, bytes } = sizeOf(row);
      return { epoch: at.epoch, sequence: at.sequence, header: row.header, records, bytes };
    });
  }

  async #record(change: Change, { receipt, acked }: Checked, afterwards: Afterwards): Promise<void> {
    const { org } = this.#core;
    const { body, signature, certificate, first } = receipt;
    const row = { body, signature, firstSequence: BigInt(first), certificateSha256: certificate.sha256 };
    change.put(TABLE.certificate, certificate.sha256, certificate.der);
    change.put(TABLE.receipt, positionKey(org, acked), Buffer.from(ReceiptRow.encode(row).finish()));
    for (const { sequence, error } of receipt.refusals) {
      if (sequence > acked.sequence) continue;
      await this.#refused(change, { epoch: receipt.epoch, sequence }, error, afterwards);
    }
  }

  async #refused(change: Change, position: StreamPosition, error: FedgateError, afterwards: Afterwards): Promise<void> {
    const { org, shared } = this.#core;
    const outcome = { reason: error.reason, message: error.message };
    change.put(TABLE.outcome, positionKey(org, position), Buffer.from(OutcomeRow.encode(outcome).finish()));
    const row = await batchRow(shared.store, org, position);
    if (!row || row.damaged) return;
    const batch = sentBatchOf(org, row);
    // Its records were given up here, and everybody was told then.
    if (batch.withheld) return;
    const { channel } = batch;
    // What gateways say to each other nobody published, and nobody could publish it again.
    if (!isControlChannel(channel))
      shared.deadLetters?.refused(change, batch, await this.#reader.records(position), error);
    else if (shared.controlRefused) {
      const records = await this.#reader.records(position);
      const payloads = records ? readRecords(records).map(({ payload }) => payload) : [];
      afterwards.push(shared.controlRefused({ org, channel, payloads, error }, change));
    }
    shared.onEvent({ kind: 'refused', batch, error });
  }

  async #commit(change: Change, right: readonly Checked[]): Promise<void> {
    const last = right.at(-1);
    if (!last) return change.empty ? undefined : this.#core.commit(change, this.#core.state);
    const covered = right.flatMap(checked => checked.covered);
    const gone = { batches: covered.length, records: 0, bytes: 0 };
    for (const { records, bytes } of covered) {
      gone.records += records;
      gone.bytes += bytes;
    }
    // Publishes went on while rows were read: this begins with what is there now.
    const settled = (): void => {
      this.#core.settling = undefined;
    };
    // Nobody waits for it, unless there was a refusal.
    const patient = right.every(({ receipt }) => receipt.refusals.length === 0);
    const next = receipted(this.#core.state, last.acked, gone);
    const committed = this.#core.commit(change, next, { committed: settled, patient });
    this.#core.settling = { acked: last.acked, gone };
    for (const checked of right) this.#tellReceived(checked);
    await committed.catch(error => {
      settled();
      throw error;
    });
    this.#findOldest();
    for (const checked of right) this.#tell(checked);
  }

  #tellReceived({ receipt, covered }: Checked): void {
    const { received } = this.#core;
    if (!received.any) return;
    const refused = new Set(receipt.refusals.map(({ sequence }) => sequence));
    for (const batch of covered) if (!refused.has(batch.sequence)) received.resolve(batch);
  }

  /** Also those who began to wait during the commit. */
  #tell(checked: Checked): void {
    const { org, shared, received, consumed } = this.#core;
    this.#tellReceived(checked);
    const refusals = new Map(checked.receipt.refusals.map(({ sequence, error }) => [sequence, error]));
    for (const batch of checked.covered) {
      shared.cache.drop(org, batch);
      const refusal = refusals.get(batch.sequence);
      if (!refusal) continue;
      received.reject(batch, refusal);
      consumed.reject(batch, refusal);
    }
  }

  #findOldest(): void {
    const { org, shared, committed } = this.#core;
    const failed = (error: unknown): void => shared.onEvent({ kind: 'failed', org, error });
    this.#core.oldestMs = committed.batches === 0 ? 0 : (shared.cache.get(org, unreceipted(committed))?.storedMs ?? 0);
    if (committed.batches > 0 && this.#core.oldestMs === 0) this.#core.readOldest().catch(failed);
  }
}
