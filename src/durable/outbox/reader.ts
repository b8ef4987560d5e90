import { OutboxRow } from '../../../gen/ts/fedgate/store/v1/outbox.js';
import { FedgateError } from '../../errors.js';
import { Change, type ScanOptions } from '../../store/store.js';
import type { RecordBlock } from '../../wire/records.js';
import { compare } from '../position.js';
import type { SealedDurable, StreamPosition } from '../types.js';
import type { OutboxCore } from './core.js';
import { contentSha256, isExpired, type Keeper } from './keeper.js';
import { batchRow, encodeOutboxRow, positionKey, positionOf, TABLE, withheldOf } from './rows.js';
import { after, exists, following, newest } from './state.js';

/** Bytes of records read from the disk ahead of the link: two such pieces are in memory at most. */
const AHEAD_BYTES = 2 * 1024 * 1024;
const AHEAD_ROWS = 256;

/** A batch, and when its time is over. */
interface Held extends SealedDurable {
  readonly expireMs: number;
}

interface Placed {
  readonly position: StreamPosition;
  readonly row: OutboxRow;
}

/** Batches read from the disk, in order, and what the outbox looked like then. */
interface Piece {
  readonly batches: Held[];
  readonly rewritten: number;
}

/** Gives the batches of an outbox to the link, in order: from memory when they were stored a moment ago, else from the disk. */
export class Reader {
  readonly #core: OutboxCore;
  readonly #keeper: Keeper;

  constructor(core: OutboxCore, keeper: Keeper) {
    this.#core = core;
    this.#keeper = keeper;
  }

  async *read(from: StreamPosition, signal: AbortSignal): AsyncGenerator<SealedDurable, void, void> {
    this.#core.reading = true;
    try {
      yield* this.#read(from, signal);
    } finally {
      this.#core.reading = false;
    }
  }

  async *#read(from: StreamPosition, signal: AbortSignal): AsyncGenerator<SealedDurable, void, void> {
    let piece: Piece | undefined;
    let ahead: Promise<Piece> | undefined;
    for (let at = from; !signal.aborted; ) {
      const { committed } = this.#core;
      at = following(committed, at);
      if (committed.paused || !exists(committed, at)) {
        await this.#core.changed(signal);
        continue;
      }
      let batch = this.#recent(at);
      if (!batch) {
        if (!piece || !this.#serves(piece, at)) {
          piece = await ahead;
          if (!piece || !this.#serves(piece, at)) piece = await this.#load(at);
          ahead = this.#loadAhead(piece);
        }
        batch = piece.batches.shift();
        if (!batch || compare(batch, at) !== 0) throw new FedgateError('INTERNAL', 'a batch that waits has no row');
      }
      if (!batch.withheld && isExpired(batch.expireMs, this.#core.shared.now())) {
        // It is read again, as one that is withheld.
        await this.#keeper.withhold([batch], 'expired');
        continue;
      }
      this.#core.handed = { epoch: batch.epoch, sequence: batch.sequence };
      yield batch;
      at = after(batch);
    }
  }

  /** The records of a batch, whether or not it has a receipt. */
  async records(position: StreamPosition): Promise<RecordBlock | undefined> {
    const cached = this.#core.shared.cache.get(this.#core.org, position);
    if (cached) return cached.records;
    const row = await batchRow(this.#core.shared.store, this.#core.org, position);
    return row && !row.damaged ? this.#body(OutboxRow.decode(row.value)) : undefined;
  }

  #recent(at: StreamPosition): Held | undefined {
    const cached = this.#core.shared.cache.get(this.#core.org, at);
    if (!cached) return undefined;
    const { epoch, sequence, header, signature, records, expireMs } = cached;
    return { epoch, sequence, header, signature, records, expireMs, withheld: undefined };
  }

  #serves({ batches, rewritten }: Piece, at: StreamPosition): boolean {
    const [first] = batches;
    return first !== undefined && rewritten === this.#core.rewritten && compare(first, at) === 0;
  }

  #loadAhead({ batches }: Piece): Promise<Piece> | undefined {
    const last = batches.at(-1);
    if (!last) return undefined;
    const next = following(this.#core.committed, after(last));
    if (!exists(this.#core.committed, next) || this.#recent(next)) return undefined;
    const ahead = this.#load(next);
    // It is awaited when its turn comes, if ever.
    ahead.catch(() => undefined);
    return ahead;
  }

  async #load(at: StreamPosition): Promise<Piece> {
    const { org, rewritten, committed } = this.#core;
    const end = committed.epochs.find(({ epoch }) => epoch === at.epoch)?.next ?? newest(committed).next;
    const range = { from: positionKey(org, at), to: positionKey(org, { epoch: at.epoch, sequence: end }) };
    let rows = await this.#signed({ ...range, limit: AHEAD_ROWS });
    if (rows.length === 0) {
      // Its row is damaged: it is read again, as one that is lost.
      await this.#keeper.withhold([at], 'lost');
      rows = await this.#signed({ ...range, limit: AHEAD_ROWS });
    }
    let bytes = 0;
    const taken = rows.filter(({ row }, i) => {
      bytes += Number(row.bytes);
      return i === 0 || bytes <= AHEAD_BYTES;
    });
    const batches = await Promise.all(taken.map(({ position, row }) => this.#open(position, row)));
    return { batches, rewritten };
  }

  async #open(position: StreamPosition, row: OutboxRow): Promise<Held> {
    const head = {
      epoch: position.epoch,
      sequence: position.sequence,
      header: Buffer.from(row.header),
      signature: Buffer.from(row.signature),
      expireMs: Number(row.expireMs),
      records: undefined,
      withheld: withheldOf(row),
    };
    if (head.withheld) return { ...head, withheld: head.withheld };
    const records = await this.#body(row);
    if (records) return { ...head, records, withheld: undefined };
    await this.#keeper.withhold([position], 'lost');
    return { ...head, withheld: 'lost' };
  }

  async #body(row: OutboxRow): Promise<RecordBlock | undefined> {
    if (!row.body) return undefined;
    try {
      const bytes = await this.#core.shared.store.read(row.body, contentSha256(row.header));
      return { bytes, count: row.records };
    } catch (error) {
      if (error instanceof FedgateError && error.reason === 'BODY_UNREADABLE') return undefined;
      throw error;
    }
  }

  /** Rows of a range, up to one that is damaged. The receiver knows the certificate of the link and no other: what an older key signed is signed again. The header stays. */
  async #signed(range: ScanOptions): Promise<readonly Placed[]> {
    const rows = await this.#scan(range);
    const { certificate } = this.#core.shared.seal;
    const isOurs = ({ row }: Placed): boolean => certificate.sha256.equals(row.certificateSha256);
    if (rows.every(isOurs)) return rows;
    return this.#core.serially(async () => {
      const change = new Change().put(TABLE.certificate, certificate.sha256, certificate.der);
      const signed = (await this.#scan(range)).map(placed => {
        if (isOurs(placed)) return placed;
        const { position, row } = placed;
        const signature = this.#core.shared.seal.sign(row.header);
        const fresh = { ...row, signature, certificateSha256: certificate.sha256 };
        change.put(TABLE.batch, positionKey(this.#core.org, position), encodeOutboxRow(fresh));
        return { position, row: fresh };
      });
      await this.#core.commit(change, this.#core.state);
      return signed;
    });
  }

  async #scan(range: ScanOptions): Promise<Placed[]> {
    const rows = await this.#core.shared.store.scan(TABLE.batch, range);
    const damaged = rows.findIndex(row => row.damaged);
    const whole = damaged < 0 ? rows : rows.slice(0, damaged);
    return whole.map(({ key, value }) => ({ position: positionOf(key), row: OutboxRow.decode(value) }));
  }
}
