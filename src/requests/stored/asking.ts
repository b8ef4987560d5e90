import { createHash, randomBytes } from 'node:crypto';
import { StoredAnswer, StoredExchange } from '../../../gen/ts/fedgate/federation/v1/stored_request.js';
import { AskedRow } from '../../../gen/ts/fedgate/store/v1/stored_request.js';
import { FedgateError, fieldError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import type { Address } from '../../messaging/address.js';
import type { Change, Store } from '../../store/store.js';
import type { Deadlines, Due } from '../deadlines.js';
import { full } from '../pending.js';
import { failure, judged } from './outcome.js';
import { rowsOf } from './rows.js';
import { draining, type Steps } from './steps.js';
import {
  DEFAULT_EXPIRE_MS,
  KEEP_ENDED_MS,
  KEEP_KEY_MS,
  MAX_ASKED,
  MAX_ASKED_BYTES,
  MAX_ASKED_BYTES_PER_NODE,
  MAX_ASKED_PER_NODE,
  MAX_EXPIRE_MS,
  MIN_EXPIRE_MS,
  type StoredEvent,
  TABLE,
} from './terms.js';

/** What both sides of stored requests have. */
export interface StoredParts {
  readonly org: OrgName;
  readonly store: Store;
  readonly steps: Steps;
  /** Of this alone. */
  readonly deadlines: Deadlines;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  /** Puts what is to be said to an organisation into the change of a step. */
  readonly send: (change: Change, to: OrgName, exchange: Buffer) => void;
  readonly onEvent: (event: StoredEvent) => void;
}

export const STATE = { waiting: 1, answered: 2, failed: 3, cancelled: 4, acknowledged: 5 } as const satisfies Record<
  string,
  AskedRow['state']
>;

/** What stands in memory of a stored request of an own node. */
class Asked implements Due {
  heapAt = -1;
  dueMs = 0;
  readonly id: string;
  readonly expire: () => void;
  row: Omit<AskedRow, 'answer'>;
  /** Bytes of what is asked, and once it is answered of the answer. */
  bytes: number;

  constructor(id: string, { answer, ...row }: AskedRow, expire: (asked: Asked) => void) {
    this.id = id;
    this.row = row;
    this.bytes = bytesOf({ ...row, answer });
    this.expire = () => expire(this);
  }

  /** When something is to be done about it, by the wall clock: it has not ended in time, or was kept long enough. */
  get nextMs(): number {
    const { state, endTimeMs, expireTimeMs } = this.row;
    if (state === STATE.waiting) return Number(expireTimeMs);
    return Number(endTimeMs) + (state === STATE.acknowledged ? KEEP_KEY_MS : KEEP_ENDED_MS);
  }
}

interface Tally {
  count: number;
  bytes: number;
}

/** A request, and how it stands. */
export interface AskedView {
  readonly id: string;
  readonly row: AskedRow;
}

export interface LaterTerms {
  readonly expireAfterMs: number;
  readonly key: string;
}

/** The stored requests of own nodes. */
export class Asking {
  readonly #parts: StoredParts;
  readonly #asked = new Map<string, Asked>();
  readonly #byNode = new Map<string, Set<Asked>>();
  readonly #tallies = new Map<string, Tally>();
  readonly #all: Tally = { count: 0, bytes: 0 };
  readonly #watchers = new Map<string, Set<() => void>>();
  #open = 0;

  constructor(parts: StoredParts) {
    this.#parts = parts;
  }

  /** How many have not ended. */
  get open(): number {
    return this.#open;
  }

  async load(): Promise<void> {
    for await (const row of rowsOf(this.#parts.store, TABLE.asked)) {
      const read = row.damaged ? undefined : AskedRow.decode(row.value);
      if (read) this.#add(row.key.toString('hex'), read);
      else this.#parts.onEvent({ kind: 'row-damaged', table: TABLE.asked, key: row.key.toString('hex') });
    }
  }

  /** `records`: one entry of a batch. Rejects with FIELD_INVALID, LIMIT_REACHED, STORE_*, DRAINING. */
  async ask(
    node: string,
    { org, channel }: Address,
    records: Buffer,
    { expireAfterMs, key }: LaterTerms,
  ): Promise<{ readonly id: string; readonly duplicate: boolean; readonly expireMs: number }> {
    if (expireAfterMs !== 0 && (expireAfterMs < MIN_EXPIRE_MS || expireAfterMs > MAX_EXPIRE_MS))
      throw fieldError('expire_after_ms', `must be from ${MIN_EXPIRE_MS} to ${MAX_EXPIRE_MS}`);
    const id = key ? idOfKey(this.#parts.org, node, `${org}/${channel}`, key) : randomBytes(16);
    const name = id.toString('hex');
    const leave = this.#enter(node, records.length, this.#asked.has(name));
    const found: { expireMs?: number } = {};
    const { steps, now, send } = this.#parts;
    const createMs = now();
    const expireMs = createMs + (expireAfterMs || DEFAULT_EXPIRE_MS);
    try {
      await steps.run(`a ${name}`, change => {
        const known = this.#asked.get(name);
        if (known) {
          found.expireMs = Number(known.row.expireTimeMs);
          return () => undefined;
        }
        const row: AskedRow = {
          ...{ node, org, channel, state: STATE.waiting, bytes: records.length, keyed: key !== '', answer: undefined },
          ...{ createTimeMs: BigInt(createMs), expireTimeMs: BigInt(expireMs), endTimeMs: 0n },
        };
        put(change, id, row);
        const ask = { id, channel, senderNode: node, expireTimeMs: BigInt(expireMs), records };
        send(change, org, encoded({ $case: 'ask', value: ask }));
        return () => this.#add(name, row);
      });
    } finally {
      leave();
    }
    if (found.expireMs === undefined) return { id: name, duplicate: false, expireMs };
    return { id: name, duplicate: true, expireMs: found.expireMs };
  }

  /** How one of a node stands. Rejects with REQUEST_UNKNOWN, STORE_DAMAGED. */
  async get(node: string, id: string): Promise<AskedView> {
    const asked = this.#of(node, id);
    const value = await this.#parts.store.get(TABLE.asked, Buffer.from(id, 'hex'));
    if (!value) throw unknown(id);
    const row = AskedRow.decode(value);
    // A row is committed a moment before memory follows it: whoever waits hears of it then.
    return { id, row: row.state === asked.row.state ? row : { ...asked.row, answer: undefined } };
  }

  /** The newest first, without answers. */
  list(node: string, after: string, limit: number): readonly AskedView[] {
    const own = [...(this.#byNode.get(node) ?? [])].sort(newestFirst);
    const from = after === '' ? 0 : own.findIndex(({ id }) => id === after) + 1;
    if (after !== '' && from === 0) throw unknown(after);
    return own.slice(from, from + limit).map(({ id, row }) => ({ id, row: { ...row, answer: undefined } }));
  }

  /** Calls `changed` at each change of a request of a node from now on. Throws REQUEST_UNKNOWN. */
  watch(node: string, id: string, changed: () => void): () => void {
    this.#of(node, id);
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(changed));
    return () => {
      watchers.delete(changed);
      if (watchers.size === 0) this.#watchers.delete(id);
    };
  }

  /** Rejects with REQUEST_UNKNOWN, STORE_*, DRAINING. */
  async cancel(node: string, id: string): Promise<void> {
    const { steps, send } = this.#parts;
    await steps.run(`a ${id}`, async change => {
      const asked = this.#of(node, id);
      if (asked.row.state !== STATE.waiting) return () => undefined;
      const raw = Buffer.from(id, 'hex');
      send(change, asked.row.org as OrgName, encoded({ $case: 'cancel', value: { id: raw } }));
      return this.#end(change, asked, STATE.cancelled, undefined);
    });
  }

  /** Rejects with REQUEST_UNKNOWN, REQUEST_OPEN, STORE_*, DRAINING. */
  async acknowledge(node: string, id: string): Promise<void> {
    await this.#parts.steps.run(`a ${id}`, change => {
      const asked = this.#of(node, id);
      const { state, keyed } = asked.row;
      if (state === STATE.waiting) throw new FedgateError('REQUEST_OPEN', `request ${id} has not ended`);
      if (state === STATE.acknowledged) throw unknown(id);
      return keyed ? this.#end(change, asked, STATE.acknowledged, undefined) : this.#forget(change, asked);
    });
  }

  /** Whether an answer of an organisation to a request would count. */
  expects(org: string, id: string): boolean {
    const asked = this.#asked.get(id);
    return asked?.row.org === org && asked.row.state === STATE.waiting;
  }

  /** What an organisation answered. The first answer counts. */
  answered(change: Change, from: OrgName, answer: StoredAnswer): () => void {
    const id = Buffer.from(answer.id).toString('hex');
    const asked = this.#asked.get(id);
    if (!asked || !this.expects(from, id)) {
      this.#parts.onEvent({ kind: 'ignored', org: from, what: 'an answer for which nobody waits' });
      return () => undefined;
    }
    const right = judged(answer, from);
    return this.#end(change, asked, right.outcome?.$case === 'failure' ? STATE.failed : STATE.answered, right);
  }

  #end(change: Change, asked: Asked, state: AskedRow['state'], answer: StoredAnswer | undefined): () => void {
    const row: AskedRow = { ...asked.row, state, endTimeMs: BigInt(this.#parts.now()), answer };
    put(change, Buffer.from(asked.id, 'hex'), row);
    return () => this.#changed(asked, row);
  }

  #changed(asked: Asked, row: AskedRow): void {
    const { answer, ...rest } = row;
    this.#count(asked, -1);
    asked.row = rest;
    asked.bytes = bytesOf({ ...rest, answer });
    this.#count(asked, 1);
    this.#schedule(asked);
    this.#tell(asked.id);
  }

  #forget(change: Change, asked: Asked): () => void {
    change.remove(TABLE.asked, Buffer.from(asked.id, 'hex'));
    return () => {
      this.#parts.deadlines.remove(asked);
      this.#count(asked, -1);
      this.#asked.delete(asked.id);
      const own = this.#byNode.get(asked.row.node);
      own?.delete(asked);
      if (own?.size === 0) this.#byNode.delete(asked.row.node);
      this.#tell(asked.id);
    };
  }

  #tell(id: string): void {
    for (const changed of this.#watchers.get(id) ?? []) changed();
  }

  #add(id: string, row: AskedRow): void {
    const asked = new Asked(id, row, each => this.#due(each));
    this.#asked.set(id, asked);
    const own = this.#byNode.get(row.node) ?? new Set();
    this.#byNode.set(row.node, own.add(asked));
    this.#count(asked, 1);
    this.#schedule(asked);
  }

  /** Its time is over, or was said to be by a clock that was put right since. */
  #due(asked: Asked): void {
    void this.#parts.steps.surely(`a ${asked.id}`, change => {
      if (this.#asked.get(asked.id) !== asked) return () => undefined;
      if (asked.nextMs > this.#parts.now()) return () => this.#schedule(asked);
      if (asked.row.state !== STATE.waiting) return this.#forget(change, asked);
      const id = Buffer.from(asked.id, 'hex');
      const outcome = failure({ reason: 'EXPIRED', message: `${asked.row.org} did not answer in time` });
      return this.#end(change, asked, STATE.failed, { id, node: '', attempts: 0, outcome });
    });
  }

  #schedule(asked: Asked): void {
    const { deadlines, now } = this.#parts;
    deadlines.remove(asked);
    asked.dueMs = deadlines.now() + Math.max(1, asked.nextMs - now());
    deadlines.add(asked);
  }

  #count(asked: Asked, step: 1 | -1): void {
    if (asked.row.state === STATE.waiting) this.#open += step;
    // Of what is acknowledged only its key is left, for some minutes.
    if (asked.row.state === STATE.acknowledged) return;
    const tally = this.#tally(asked.row.node);
    for (const each of [tally, this.#all]) {
      each.count += step;
      each.bytes += step * asked.bytes;
    }
    if (tally.count === 0) this.#tallies.delete(asked.row.node);
  }

  /** Takes room for one; what is returned gives it back. Throws LIMIT_REACHED. */
  #enter(node: string, bytes: number, known: boolean): () => void {
    if (this.#parts.steps.stopped) throw draining();
    if (known) return () => undefined;
    const tally = this.#tally(node);
    const all = this.#all;
    if (tally.count >= MAX_ASKED_PER_NODE || tally.bytes + bytes > MAX_ASKED_BYTES_PER_NODE)
      throw full('stored requests per node', `node ${node} has ${tally.count} stored requests of ${tally.bytes} bytes`);
    if (all.count >= MAX_ASKED || all.bytes + bytes > MAX_ASKED_BYTES)
      throw full('stored requests', `there are ${all.count} stored requests of ${all.bytes} bytes`);
    for (const each of [tally, all]) {
      each.count++;
      each.bytes += bytes;
    }
    this.#tallies.set(node, tally);
    return () => {
      const own = this.#tally(node);
      for (const each of [own, all]) {
        each.count--;
        each.bytes -= bytes;
      }
      if (own.count === 0) this.#tallies.delete(node);
    };
  }

  #tally(node: string): Tally {
    const tally = this.#tallies.get(node) ?? { count: 0, bytes: 0 };
    this.#tallies.set(node, tally);
    return tally;
  }

  #of(node: string, id: string): Asked {
    const asked = this.#asked.get(id);
    if (asked?.row.node !== node) throw unknown(id);
    return asked;
  }
}

export const encoded = (what: NonNullable<StoredExchange['what']>): Buffer =>
  Buffer.from(StoredExchange.encode({ what }).finish());

const bytesOf = ({ state, bytes, answer }: AskedRow): number =>
  state === STATE.waiting ? bytes : answer ? StoredAnswer.encode(answer).finish().length : 0;

const put = (change: Change, id: Buffer, row: AskedRow): void =>
  void change.put(TABLE.asked, id, Buffer.from(AskedRow.encode(row).finish()));

const newestFirst = (a: Asked, b: Asked): number =>
  Number(b.row.createTimeMs - a.row.createTimeMs) || (a.id < b.id ? -1 : 1);

/** The same for the same key of the same node at the same address, and of no other. */
const idOfKey = (...parts: readonly string[]): Buffer =>
  createHash('sha256')
    .update(['fedgate/stored-request/v1', ...parts].join('\n'))
    .digest()
    .subarray(0, 16);

const unknown = (id: string): FedgateError =>
  new FedgateError('REQUEST_UNKNOWN', `there is no stored request ${id.slice(0, 40)}`);
