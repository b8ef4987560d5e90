import { TakenRow } from '../../../gen/ts/fedgate/store/v1/stored_request.js';
import type { OrgName } from '../../identity/names.js';
import { key } from '../../store/keys.js';
import type { Change } from '../../store/store.js';
import type { Due } from '../deadlines.js';
import type { Job } from '../job.js';
import { FIRST_RETRY_MS, KEEP_OVER_MS, LONGEST_RETRY_MS, TABLE } from './terms.js';

/** A stored request of some organisation that a node of ours is to answer. */
export class Taken implements Due {
  heapAt = -1;
  /** By the monotonic clock; set by whoever schedules it. */
  dueMs = 0;
  readonly from: OrgName;
  readonly id: Buffer;
  row: TakenRow;
  /**
   * `waiting`: for a responder with room. `resting`: until it is given to the next one. `giving`: about to be. `out`: at a responder. `ending`: about
   * to be over.
   */
  state: 'waiting' | 'resting' | 'giving' | 'out' | 'ending' | 'over';
  /** Whether the last attempt that is counted came to nobody. */
  spare = false;
  /** Until when it rests, by the wall clock. */
  restUntilMs = 0;
  job: Job | undefined;
  /** Gives back the room that it takes among those that are out. */
  leave: () => void = () => undefined;
  readonly expire: () => void;

  constructor(from: OrgName, id: Buffer, row: TakenRow, expire: (taken: Taken) => void) {
    this.from = from;
    this.id = id;
    this.row = row;
    this.state = row.over ? 'over' : 'waiting';
    this.expire = () => expire(this);
  }

  get name(): string {
    return nameOf(this.from, this.id);
  }

  get rowKey(): Buffer {
    return key(this.from, this.id);
  }

  /** Whether it has not ended. */
  get open(): boolean {
    return this.state !== 'over' && this.state !== 'ending';
  }

  /** When something is to be done about it, by the wall clock. */
  get nextMs(): number {
    const expireMs = Number(this.row.expireTimeMs);
    if (this.state === 'over') return expireMs + KEEP_OVER_MS;
    return this.state === 'resting' ? Math.min(this.restUntilMs, expireMs) : expireMs;
  }

  /** How long it rests after so many attempts. */
  get restMs(): number {
    return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, this.row.attempts - 1));
  }

  put(change: Change, row: TakenRow): void {
    change.put(TABLE.taken, this.rowKey, Buffer.from(TakenRow.encode(row).finish()));
  }
}

export const nameOf = (from: string, id: Uint8Array): string => `${from} ${Buffer.from(id).toString('hex')}`;
