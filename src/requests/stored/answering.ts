import type { StoredAsk } from '../../../gen/ts/fedgate/federation/v1/stored_request.js';
import { TakenRow } from '../../../gen/ts/fedgate/store/v1/stored_request.js';
import { FedgateError } from '../../errors.js';
import { type OrgName, parseNodeName } from '../../identity/names.js';
import { parseChannel, parsePattern } from '../../messaging/address.js';
import { matches } from '../../messaging/pattern.js';
import type { Change } from '../../store/store.js';
import type { RecordBlock } from '../../wire/records.js';
import type { Dispatcher } from '../dispatcher.js';
import type { Responder } from '../responder.js';
import type { Answer, Answered, Said } from '../types.js';
import { encoded, type StoredParts } from './asking.js';
import { answerOf, checkedRecord, failure, type Outcome, outcomeOf } from './outcome.js';
import { idOfKey, orgOfKey, rowsOf } from './rows.js';
import { nameOf, Taken } from './taken.js';
import {
  ATTEMPT_MS,
  DISK_RETRY_MS,
  MAX_EXPIRE_MS,
  MAX_OUT,
  MAX_OUT_STORED_BYTES,
  MAX_OVER_PER_ORG,
  MAX_STORED_ATTEMPTS,
  MAX_TAKEN_BYTES_PER_ORG,
  MAX_TAKEN_PER_ORG,
  TABLE,
} from './terms.js';

export interface AnsweringParts extends StoredParts {
  readonly dispatcher: Dispatcher;
  /** Why a node of an organisation may not ask on a channel here; undefined: it may. */
  readonly judge: (org: OrgName, channel: string, node: string) => FedgateError | undefined;
  /** Whether a policy of the operator's lets it be carried out now. Throws or rejects when not; what may be asked again later is retryable. */
  readonly allow: (org: OrgName, channel: string, node: string, bytes: number) => void | Promise<void>;
}

interface OfOrg {
  count: number;
  bytes: number;
  readonly over: Set<Taken>;
}

/**
 * Stored requests that came for nodes of the own organisation. Each is given to a responder when one has room, again when that one or this gateway went
 * away before the answer was stored, and ends once: its end and the answer that goes back are one commit.
 */
export class Answering {
  readonly #parts: AnsweringParts;
  readonly #taken = new Map<string, Taken>();
  readonly #orgs = new Map<string, OfOrg>();
  /** What waits, by channel. */
  readonly #waiting = new Map<string, Set<Taken>>();
  /** Channels of those that have responders, and none with room. */
  readonly #starved = new Set<string>();
  readonly #out = { count: 0, bytes: 0 };

  constructor(parts: AnsweringParts) {
    this.#parts = parts;
    parts.dispatcher.onRoom(responder => this.#serve(responder));
    parts.dispatcher.onRole((_node, text, step) => {
      if (step < 0 || this.#waiting.size === 0) return;
      const pattern = parsePattern(text);
      for (const channel of [...this.#waiting.keys()]) if (matches(pattern, channel)) this.#serveChannel(channel);
    });
  }

  /** How many have not ended. */
  get open(): number {
    let open = 0;
    for (const { count } of this.#orgs.values()) open += count;
    return open;
  }

  async load(): Promise<void> {
    for await (const row of rowsOf(this.#parts.store, TABLE.taken)) {
      if (row.damaged) this.#parts.onEvent({ kind: 'row-damaged', table: TABLE.taken, key: row.key.toString('hex') });
      else this.#add(orgOfKey(row.key) as OrgName, Buffer.from(idOfKey(row.key)), TakenRow.decode(row.value));
    }
  }

  /** Whether there is room for one more of an organisation. `more`: what of it was not looked at yet. */
  hasRoom(from: string, more: number): boolean {
    const { count, bytes } = this.#of(from);
    return count + more < MAX_TAKEN_PER_ORG && bytes < MAX_TAKEN_BYTES_PER_ORG;
  }

  /** An organisation asks. What is refused is answered with why. */
  take(change: Change, from: OrgName, ask: StoredAsk): () => void {
    const id = Buffer.from(ask.id);
    if (this.#taken.has(nameOf(from, id))) {
      this.#parts.onEvent({ kind: 'ignored', org: from, what: 'a request that came before' });
      return nothing;
    }
    const now = this.#parts.now();
    const expireMs = Math.min(Number(ask.expireTimeMs), now + MAX_EXPIRE_MS);
    if (expireMs <= now) return nothing;
    const error = this.#refusal(from, ask);
    if (error) {
      this.#parts.onEvent({ kind: 'refused', org: from, error });
      this.#answer(change, from, id, failure(error), { node: '', attempts: 0 });
      return nothing;
    }
    const row: TakenRow = {
      ...{ senderNode: ask.senderNode, channel: ask.channel, attempts: 0, bytes: ask.records.length, over: false },
      ...{ expireTimeMs: BigInt(expireMs), receiveTimeMs: BigInt(now) },
    };
    const taken = new Taken(from, id, row, each => this.#due(each));
    taken.put(change, row);
    change.put(TABLE.question, taken.rowKey, Buffer.from(ask.records));
    return () => {
      this.#add(from, id, row);
      this.#serveChannel(row.channel);
    };
  }

  /** Its asker does not wait any more. */
  cancel(change: Change, from: OrgName, id: Buffer): () => void {
    const taken = this.#taken.get(nameOf(from, id));
    if (!taken?.open) return nothing;
    return this.#end(change, taken);
  }

  #refusal(from: OrgName, { channel, senderNode, records }: StoredAsk): FedgateError | undefined {
    try {
      const refusal = this.#parts.judge(from, parseChannel(channel), parseNodeName(senderNode, 'sender_node'));
      if (refusal) return refusal;
      checkedRecord(records);
      if (this.hasRoom(from, 0)) return undefined;
      return new FedgateError('LIMIT_REACHED', `too many stored requests of ${from} wait`);
    } catch (error) {
      return error as FedgateError;
    }
  }

  #add(from: OrgName, id: Buffer, row: TakenRow): void {
    const taken = new Taken(from, id, row, each => this.#due(each));
    this.#taken.set(taken.name, taken);
    this.#schedule(taken);
    if (taken.state === 'over') return this.#remember(taken);
    const org = this.#of(from);
    org.count++;
    org.bytes += row.bytes;
    this.#wait(taken);
  }

  #wait(taken: Taken): void {
    taken.state = 'waiting';
    const { channel } = taken.row;
    this.#waiting.set(channel, (this.#waiting.get(channel) ?? new Set()).add(taken));
  }

  #unwait(taken: Taken): void {
    const { channel } = taken.row;
    const waiting = this.#waiting.get(channel);
    waiting?.delete(taken);
    if (waiting?.size === 0) this.#waiting.delete(channel);
  }

  /** A responder has room: what waits because there was none may go on. */
  #serve(responder: Responder): void {
    for (const channel of [...this.#starved]) {
      if (this.#parts.dispatcher.serving(channel).includes(responder)) this.#serveChannel(channel);
    }
  }

  #serveChannel(channel: string): void {
    const { dispatcher } = this.#parts;
    this.#starved.delete(channel);
    for (const taken of this.#waiting.get(channel) ?? []) {
      const { bytes } = taken.row;
      const full =
        this.#out.count >= MAX_OUT || (this.#out.count > 0 && this.#out.bytes + bytes > MAX_OUT_STORED_BYTES);
      if (full || dispatcher.room(channel, bytes) <= this.#giving(channel)) {
        if (dispatcher.serving(channel).length > 0) this.#starved.add(channel);
        return;
      }
      this.#unwait(taken);
      this.#give(taken);
    }
  }

  readonly #givingOn = new Map<string, number>();

  #giving(channel: string): number {
    return this.#givingOn.get(channel) ?? 0;
  }

  #countGiving(channel: string, step: 1 | -1): void {
    const now = this.#giving(channel) + step;
    if (now > 0) this.#givingOn.set(channel, now);
    else this.#givingOn.delete(channel);
  }

  /** The attempt is counted on the disk before anybody gets it. */
  #give(taken: Taken): void {
    const { steps, store } = this.#parts;
    const { channel, bytes } = taken.row;
    taken.state = 'giving';
    this.#countGiving(channel, 1);
    this.#out.count++;
    this.#out.bytes += bytes;
    let left = false;
    const leave = (): void => {
      if (left) return;
      left = true;
      this.#out.count--;
      this.#out.bytes -= bytes;
    };
    void this.#denied(taken)
      .then(denied => {
        if (denied?.retryable && taken.state === 'giving') {
          leave();
          return this.#rest(taken);
        }
        return this.#giveOne(taken, denied, leave);
      })
      .finally(() => {
        this.#countGiving(channel, -1);
        if (store.health.state === 'ok' && !steps.stopped) this.#serveChannel(channel);
      });
  }

  /** What the policy says against it. */
  async #denied({ from, row }: Taken): Promise<FedgateError | undefined> {
    try {
      await this.#parts.allow(from, row.channel, row.senderNode, row.bytes);
      return undefined;
    } catch (error) {
      return error as FedgateError;
    }
  }

  #giveOne(taken: Taken, denied: FedgateError | undefined, leave: () => void): Promise<void> {
    return this.#parts.steps.surely(`t ${taken.name}`, async change => {
      if (taken.state !== 'giving') return leave;
      const { row } = taken;
      const refusal = denied ?? this.#parts.judge(taken.from, row.channel, row.senderNode);
      const record = refusal ?? (await this.#question(taken));
      if (record instanceof FedgateError) {
        this.#answer(change, taken.from, taken.id, failure(record), { node: '', attempts: row.attempts });
        const ended = this.#end(change, taken);
        return () => {
          leave();
          ended();
        };
      }
      const next = taken.spare ? row : { ...row, attempts: row.attempts + 1 };
      if (!taken.spare) taken.put(change, next);
      return () => {
        taken.row = next;
        this.#handOut(taken, record, leave);
      };
    });
  }

  #rest(taken: Taken): void {
    taken.state = 'resting';
    taken.restUntilMs = this.#parts.now() + Math.max(DISK_RETRY_MS, taken.restMs);
    this.#schedule(taken);
  }

  async #question(taken: Taken): Promise<RecordBlock | FedgateError> {
    try {
      const bytes = await this.#parts.store.get(TABLE.question, taken.rowKey);
      if (bytes) return checkedRecord(bytes);
    } catch (error) {
      if (!(error instanceof FedgateError) || !/^(STORE_DAMAGED|FRAME_)/.test(error.reason)) throw error;
    }
    this.#parts.onEvent({ kind: 'row-damaged', table: TABLE.question, key: taken.rowKey.toString('hex') });
    return new FedgateError('BODY_UNREADABLE', 'what was asked cannot be read any more');
  }

  #handOut(taken: Taken, record: RecordBlock, leave: () => void): void {
    const { dispatcher, now } = this.#parts;
    const { channel, senderNode, attempts, expireTimeMs } = taken.row;
    const leftMs = Math.min(ATTEMPT_MS, Math.max(1, Number(expireTimeMs) - now()));
    taken.state = 'out';
    taken.spare = false;
    let settled = false;
    const job = dispatcher.ask(
      { channel, senderOrg: taken.from, senderNode, record },
      {
        ...{ dueMs: dispatcher.now() + leftMs, once: true, key: '', survey: false },
        stored: { id: taken.id.toString('hex'), attempts: attempts - 1 },
        settle: answer => {
          settled = true;
          leave();
          taken.job = undefined;
          this.#settled(taken, answer);
        },
        late: (said, node) => {
          if (said) this.#said(taken, said, { node, attempts: taken.row.attempts });
        },
      },
    );
    if (!settled) taken.job = job;
    taken.leave = leave;
  }

  #settled(taken: Taken, answer: Answer): void {
    if (answer.kind === 'reply' || answer.kind === 'error') return this.#said(taken, answer, answer);
    if (taken.state !== 'out') return;
    const { attempts } = taken.row;
    if (answer.attempts < attempts) {
      taken.spare = true;
      this.#wait(taken);
      return this.#serveChannel(taken.row.channel);
    }
    if (attempts >= MAX_STORED_ATTEMPTS) {
      const message = `${attempts} responders got it, and none of them answered`;
      return this.#endWith(taken, failure({ reason: 'RESPONDER_GONE', message }), { node: '', attempts });
    }
    taken.state = 'resting';
    taken.restUntilMs = this.#parts.now() + taken.restMs;
    this.#schedule(taken);
  }

  /** A responder answered, perhaps one that was thought to be lost. The first one counts. */
  #said(taken: Taken, said: Said, by: Pick<Answered, 'node' | 'attempts'>): void {
    if (taken.open) this.#endWith(taken, outcomeOf(said), by);
  }

  #endWith(taken: Taken, outcome: Outcome, by: Pick<Answered, 'node' | 'attempts'>): void {
    if (taken.state === 'waiting') this.#unwait(taken);
    taken.state = 'ending';
    void this.#parts.steps.surely(`t ${taken.name}`, change => {
      if (taken.state === 'over') return nothing;
      this.#answer(change, taken.from, taken.id, outcome, by);
      return this.#end(change, taken);
    });
  }

  #answer(change: Change, to: OrgName, id: Buffer, outcome: Outcome, by: Pick<Answered, 'node' | 'attempts'>): void {
    this.#parts.send(change, to, encoded({ $case: 'answer', value: answerOf(id, outcome, by) }));
  }

  #end(change: Change, taken: Taken): () => void {
    const row = { ...taken.row, over: true };
    taken.put(change, row);
    change.remove(TABLE.question, taken.rowKey);
    return () => {
      if (taken.state === 'waiting') this.#unwait(taken);
      taken.state = 'over';
      taken.row = row;
      const { job } = taken;
      taken.job = undefined;
      if (job) {
        this.#parts.dispatcher.cancel(job, 'caller');
        taken.leave();
      }
      const org = this.#of(taken.from);
      org.count--;
      org.bytes -= row.bytes;
      this.#remember(taken);
      this.#schedule(taken);
    };
  }

  /** Keeps that it is over, of so many. */
  #remember(taken: Taken): void {
    const { over } = this.#of(taken.from);
    over.add(taken);
    if (over.size <= MAX_OVER_PER_ORG) return;
    const [oldest] = over;
    if (oldest) this.#forget(oldest);
  }

  #forget(taken: Taken): void {
    const org = this.#of(taken.from);
    org.over.delete(taken);
    void this.#parts.steps.surely(`t ${taken.name}`, change => {
      change.remove(TABLE.taken, taken.rowKey);
      return () => {
        this.#parts.deadlines.remove(taken);
        this.#taken.delete(taken.name);
        if (org.count === 0 && org.over.size === 0) this.#orgs.delete(taken.from);
      };
    });
  }

  #due(taken: Taken): void {
    const { now, steps } = this.#parts;
    if (taken.nextMs > now()) return this.#schedule(taken);
    if (taken.state === 'over') return this.#forget(taken);
    if (Number(taken.row.expireTimeMs) > now()) {
      if (taken.state === 'resting') {
        this.#wait(taken);
        this.#serveChannel(taken.row.channel);
      }
      return this.#schedule(taken);
    }
    // Whoever asked ends it by itself.
    void steps.surely(`t ${taken.name}`, change => (taken.state === 'over' ? nothing : this.#end(change, taken)));
  }

  #schedule(taken: Taken): void {
    const { deadlines, now } = this.#parts;
    deadlines.remove(taken);
    taken.dueMs = deadlines.now() + Math.max(1, taken.nextMs - now());
    deadlines.add(taken);
  }

  #of(org: string): OfOrg {
    const known = this.#orgs.get(org) ?? { count: 0, bytes: 0, over: new Set<Taken>() };
    this.#orgs.set(org, known);
    return known;
  }
}

const nothing = (): void => undefined;
