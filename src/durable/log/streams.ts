import { RememberedRow, type StoredError, WatermarkRow } from '../../../gen/ts/fedgate/store/v1/log.js';
import { FedgateError, isReason } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { key, numberAt, prefixed } from '../../store/keys.js';
import type { Change, Row, Store } from '../../store/store.js';
import { compare } from '../position.js';
import type { RememberedBatch, StreamId, StreamPosition } from '../types.js';
import { REMEMBERED, WATERMARK } from './tables.js';

/** Batches of a stream that are remembered for receipts that got lost: 256 receipts of 256 batches, ~6 MiB of rows. */
export const MAX_REMEMBERED = 65_536;
/** What is no longer needed is removed together with the next batch, at every so many: one range instead of many rows. */
const FORGET_EVERY = 256;

interface Stream {
  committed: StreamPosition | undefined;
  /** With what is under way. */
  newest: StreamPosition | undefined;
  /** All before this may go, and all before this is gone. */
  confirmed: StreamPosition | undefined;
  forgotten: StreamPosition | undefined;
}

const PAGE = 1_000;
const streamKey = ({ org, gateway }: StreamId): Buffer => key(org, gateway);
const nameOf = ({ org, gateway }: StreamId): string => `${org}/${gateway}`;

/** How far each stream has come, and what was answered to its batches. */
export class Streams {
  readonly #store: Store;
  readonly #streams = new Map<string, Stream>();
  readonly #underWay = new Set<Stream>();

  private constructor(store: Store) {
    this.#store = store;
  }

  static async open(store: Store): Promise<Streams> {
    const streams = new Streams(store);
    let from = Buffer.alloc(0);
    for (;;) {
      const rows = await store.scan(WATERMARK, { from, limit: PAGE });
      for (const row of rows) streams.#load(row);
      const last = rows.at(-1);
      if (!last || rows.length < PAGE) return streams;
      from = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }

  watermark(from: StreamId): StreamPosition | undefined {
    return this.#streams.get(nameOf(from))?.committed;
  }

  /** Throws REPLAYED, FRAME_UNEXPECTED when a batch is not the next one. */
  check(from: StreamId, { epoch, sequence }: StreamPosition): void {
    const newest = this.#streams.get(nameOf(from))?.newest;
    const metadata = { stream: nameOf(from), epoch: String(epoch), sequence: String(sequence) };
    const expected = newest?.epoch === epoch ? newest.sequence + 1 : 1;
    if (newest && (epoch < newest.epoch || (epoch === newest.epoch && sequence < expected))) {
      throw new FedgateError('REPLAYED', `batch ${sequence} of epoch ${epoch} of ${nameOf(from)} came again`, {
        metadata,
      });
    }
    if (sequence !== expected) {
      throw new FedgateError(
        'FRAME_UNEXPECTED',
        `batch ${sequence} of epoch ${epoch} of ${nameOf(from)} came where ${expected} is next`,
        { metadata },
      );
    }
  }

  /** Moves the watermark in a change. To be followed by `committed`, or by `reset` for all. */
  move(change: Change, from: StreamId, position: StreamPosition): void {
    const stream = this.#of(from);
    stream.newest = position;
    this.#underWay.add(stream);
    const row = { epoch: position.epoch, sequence: BigInt(position.sequence) };
    change.put(WATERMARK, streamKey(from), Buffer.from(WatermarkRow.encode(row).finish()));
  }

  remember(change: Change, from: StreamId, position: StreamPosition, batch: RememberedBatch): void {
    const row = { headerSha256: batch.headerSha256, refusal: batch.refusal && storedError(batch.refusal) };
    change.put(REMEMBERED, rememberedKey(from, position), Buffer.from(RememberedRow.encode(row).finish()));
    this.#forget(change, from, position);
  }

  committed(from: StreamId, position: StreamPosition): void {
    this.#of(from).committed = position;
  }

  /** Nothing that is under way will be stored. */
  reset(): void {
    for (const stream of this.#underWay) stream.newest = stream.committed;
    this.#underWay.clear();
  }

  async remembered(
    from: StreamId,
    epoch: bigint,
    first: number,
    last: number,
  ): Promise<(RememberedBatch | undefined)[]> {
    const count = last - first + 1;
    const found = new Array<RememberedBatch | undefined>(count).fill(undefined);
    const range = {
      from: rememberedKey(from, { epoch, sequence: first }),
      to: rememberedKey(from, { epoch, sequence: last + 1 }),
    };
    for (const { key: at, value } of await this.#store.scan(REMEMBERED, { ...range, limit: count })) {
      const { headerSha256, refusal } = RememberedRow.decode(value);
      found[numberAt(at, at.length - 8) - first] = {
        headerSha256: Buffer.from(headerSha256),
        refusal: refusal && readError(refusal),
      };
    }
    return found;
  }

  confirmed(from: StreamId, position: StreamPosition): void {
    const stream = this.#of(from);
    if (!stream.confirmed || compare(position, stream.confirmed) > 0) stream.confirmed = position;
  }

  #forget(change: Change, from: StreamId, { epoch, sequence }: StreamPosition): void {
    const stream = this.#of(from);
    const { confirmed, forgotten } = stream;
    const capped = { epoch, sequence: sequence - MAX_REMEMBERED };
    const upTo = confirmed && compare(confirmed, capped) > 0 ? confirmed : capped;
    if (upTo.sequence <= 0) return;
    if (forgotten?.epoch === upTo.epoch && upTo.sequence - forgotten.sequence < FORGET_EVERY) return;
    stream.forgotten = upTo;
    change.removeRange(REMEMBERED, {
      from: prefixed(streamKey(from)).from,
      to: rememberedKey(from, { epoch: upTo.epoch, sequence: upTo.sequence + 1 }),
    });
  }

  #load({ key: at, value }: Row): void {
    const [org = '', gateway = ''] = at.toString().split('\0');
    const { epoch, sequence } = WatermarkRow.decode(value);
    const stream = this.#of({ org: org as OrgName, gateway });
    stream.committed = { epoch, sequence: Number(sequence) };
    stream.newest = stream.committed;
  }

  #of(from: StreamId): Stream {
    let stream = this.#streams.get(nameOf(from));
    if (!stream) {
      stream = { committed: undefined, newest: undefined, confirmed: undefined, forgotten: undefined };
      this.#streams.set(nameOf(from), stream);
    }
    return stream;
  }
}

const rememberedKey = (from: StreamId, { epoch, sequence }: StreamPosition): Buffer =>
  key(from.org, from.gateway, epoch, sequence);

const storedError = ({ reason, message, metadata }: FedgateError): StoredError => ({
  reason,
  message,
  metadata: new Map(Object.entries(metadata)),
});

const readError = ({ reason, message, metadata }: StoredError): FedgateError =>
  new FedgateError(isReason(reason) ? reason : 'INTERNAL', message, { metadata: Object.fromEntries(metadata) });
