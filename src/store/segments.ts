import { SegmentUse } from '../../gen/ts/fedgate/store/v1/store.js';
import { key, numberAt } from './keys.js';
import { isRow, ROWS_SEGMENT, rowRef } from './row-bodies.js';
import type { RowWriter } from './rows.js';
import type { BodyRef, Change, Row } from './store.js';

/** The table that says what of each segment is in use. Written by the store alone. */
export const SEGMENT_TABLE = '$segment';

export interface SegmentId {
  readonly log: string;
  readonly segment: number;
}

interface Use {
  readonly bodies: number;
  readonly bytes: number;
  readonly end: number;
}

interface LogState {
  /** The segment that is appended to. */
  segment: number;
  /** Where the next body of it begins. */
  end: number;
  readonly uses: Map<number, Use>;
}

const UNUSED: Use = { bodies: 0, bytes: 0, end: 0 };

/** What a group changes: uses of segments, not yet committed. */
export interface SegmentPlan {
  readonly uses: readonly (SegmentId & { readonly use: Use })[];
}

const rowKey = ({ log, segment }: SegmentId): Buffer => key(log, segment);

export function segmentOfRow(row: Row): SegmentId & { readonly use: Use } {
  const log = row.key.toString('utf8', 0, row.key.length - 9);
  const { bodies, bytes, end } = SegmentUse.decode(row.value);
  return { log, segment: numberAt(row.key, row.key.length - 8), use: { bodies, bytes: Number(bytes), end } };
}

/**
 * Where bodies go, and how much of each segment is still needed.
 *
 * A segment of which nothing is needed is removed, unless it is being appended to. One long-lived body keeps its whole segment: that is
 * accepted, since bodies of one log are released about in order, and the disk that it costs is seen in `stats`.
 *
 * Small bodies are rows, and have no file. They are counted as if they were one more segment of their log.
 */
export class Segments {
  readonly #segmentBytes: number;
  readonly #rowBodyBytes: number;
  #nextRowBody: number;
  readonly #logs = new Map<string, LogState>();
  /** Nothing of them is needed; they may still be appended to. */
  readonly #unused = new Map<string, SegmentId>();

  /** `nextRowBody`: the number of the next body that is a row. */
  constructor(options: { readonly segmentBytes: number; readonly rowBodyBytes: number; readonly nextRowBody: number }) {
    this.#segmentBytes = options.segmentBytes;
    this.#rowBodyBytes = options.rowBodyBytes;
    this.#nextRowBody = options.nextRowBody;
  }

  /** Takes what is known from the last run. Appending goes on in new segments: the old ones may end in what was never committed. */
  load({ log, segment, use }: SegmentId & { readonly use: Use }): void {
    const state = this.#logOf(log);
    state.uses.set(segment, use);
    if (segment >= state.segment && !isRow({ segment })) state.segment = segment + 1;
  }

  has({ log, segment }: SegmentId): boolean {
    return this.#logs.get(log)?.uses.has(segment) ?? false;
  }

  reserve(log: string, length: number): BodyRef {
    const state = this.#logOf(log);
    // One of no bytes may be a mark, which has to have a place among the files.
    if (length > 0 && length <= this.#rowBodyBytes) return rowRef(log, this.#nextRowBody++, length);
    if (state.end > 0 && (state.end + length > this.#segmentBytes || this.#worthLeaving(state))) this.#leave(state);
    const ref = { log, segment: state.segment, offset: state.end, length };
    state.end += length;
    return ref;
  }

  /** Appends no more to the segments of these bodies: what a failed sync left of their pages is not known. */
  abandon(bodies: Iterable<BodyRef>): void {
    for (const { log, segment } of bodies) {
      const state = this.#logs.get(log);
      if (state?.segment === segment) this.#leave(state);
    }
  }

  plan(changes: readonly Change[]): SegmentPlan {
    const uses = new Map<string, SegmentId & { use: Use }>();
    const useOf = (ref: SegmentId): SegmentId & { use: Use } => {
      const { log } = ref;
      const segment = isRow(ref) ? ROWS_SEGMENT : ref.segment;
      const name = `${log}/${segment}`;
      let found = uses.get(name);
      if (!found) {
        found = { log, segment, use: this.#logs.get(log)?.uses.get(segment) ?? UNUSED };
        uses.set(name, found);
      }
      return found;
    };
    for (const change of changes) {
      for (const { ref } of change.bodies) {
        const planned = useOf(ref);
        const { bodies, bytes, end } = planned.use;
        const newEnd = isRow(ref) ? 0 : Math.max(end, ref.offset + ref.length);
        planned.use = { bodies: bodies + 1, bytes: bytes + ref.length, end: newEnd };
      }
      for (const ref of change.released) {
        const planned = useOf(ref);
        const { bodies, bytes, end } = planned.use;
        planned.use = { bodies: Math.max(0, bodies - 1), bytes: Math.max(0, bytes - ref.length), end };
      }
      for (const { log, segment: until, offset } of change.releasedBefore) {
        // The number of a row says nothing of the files.
        if (isRow({ segment: until })) continue;
        for (const segment of this.#logs.get(log)?.uses.keys() ?? []) {
          if (segment > until) continue;
          const planned = useOf({ log, segment });
          const { end } = planned.use;
          if (segment < until || end <= offset) planned.use = { bodies: 0, bytes: 0, end };
        }
      }
    }
    return { uses: [...uses.values()] };
  }

  write({ uses }: SegmentPlan, writer: RowWriter): void {
    for (const { log, segment, use } of uses) {
      const at = rowKey({ log, segment });
      if (use.bodies === 0) writer.remove(SEGMENT_TABLE, at);
      else {
        const row = SegmentUse.encode({ bodies: use.bodies, bytes: BigInt(use.bytes), end: use.end });
        writer.put(SEGMENT_TABLE, at, Buffer.from(row.finish()));
      }
    }
  }

  /** The plan is committed. */
  committed({ uses }: SegmentPlan): void {
    for (const { log, segment, use } of uses) {
      const name = `${log}/${segment}`;
      if (use.bodies === 0) {
        this.#logOf(log).uses.delete(segment);
        if (!isRow({ segment })) this.#unused.set(name, { log, segment });
      } else {
        this.#logOf(log).uses.set(segment, use);
        this.#unused.delete(name);
      }
    }
  }

  /** Takes the segments whose files may go. One that a body reserved long ago still comes to is simply made again. */
  takeUnused(): SegmentId[] {
    const taken: SegmentId[] = [];
    for (const [name, id] of this.#unused) {
      if (this.#logs.get(id.log)?.segment === id.segment) continue;
      this.#unused.delete(name);
      taken.push(id);
    }
    return taken;
  }

  /** Bytes that rows refer to, by log. */
  bodyBytes(): Map<string, number> {
    const bytes = new Map<string, number>();
    for (const [log, { uses }] of this.#logs) {
      let sum = 0;
      for (const use of uses.values()) sum += use.bytes;
      bytes.set(log, sum);
    }
    return bytes;
  }

  /** Bytes of the files, about: to the end of the last body that was committed. */
  fileBytes(): number {
    let sum = 0;
    for (const { uses } of this.#logs.values()) for (const use of uses.values()) sum += use.end;
    return sum;
  }

  /** A segment that is appended to, of which nothing is needed any more, is left for a new one before it is full: its file can then go. */
  #worthLeaving(state: LogState): boolean {
    return state.end * 4 > this.#segmentBytes && !state.uses.has(state.segment);
  }

  #leave(state: LogState): void {
    state.segment++;
    state.end = 0;
  }

  #logOf(log: string): LogState {
    let state = this.#logs.get(log);
    if (!state) {
      // The name becomes that of a folder.
      if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/.test(log)) throw new RangeError(`not the name of a log: ${log}`);
      state = { segment: 1, end: 0, uses: new Map() };
      this.#logs.set(log, state);
    }
    return state;
  }
}
