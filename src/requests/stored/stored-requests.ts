import { setTimeout as delay } from 'node:timers/promises';
import { StoredExchange } from '../../../gen/ts/fedgate/federation/v1/stored_request.js';
import { FedgateError, fieldError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import type { Access } from '../../messaging/access.js';
import { parseAddress } from '../../messaging/address.js';
import type { Change, Row } from '../../store/store.js';
import { malformed } from '../../wire/reader.js';
import type { RecordBlock } from '../../wire/records.js';
import { Deadlines } from '../deadlines.js';
import type { Dispatcher } from '../dispatcher.js';
import { Answering, type AnsweringParts } from './answering.js';
import { Asking, encoded, type LaterTerms, type StoredParts } from './asking.js';
import { StoredInbox } from './inbox.js';
import { answerOf, checkedRecord, failure } from './outcome.js';
import { Steps } from './steps.js';
import { DISK_RETRY_MS, MAX_INBOX_PER_ORG, TABLE } from './terms.js';

export interface StoredOptions extends Pick<StoredParts, 'org' | 'store' | 'send' | 'onEvent'> {
  readonly access: Pick<Access, 'checkRequest'>;
  readonly dispatcher: Dispatcher;
  /** Why a node of another organisation may not ask on a channel here; undefined: it may. */
  readonly judge: AnsweringParts['judge'];
  /** Whether a policy of the operator's lets a node of an organisation ask a channel of one now. Throws or rejects when not. */
  readonly allow?: (from: OrgName, node: string, to: OrgName, channel: string, bytes: number) => void | Promise<void>;
  /** Whether an organisation is one that could answer one day. Throws ORG_UNKNOWN, ORG_INACTIVE. */
  readonly checkMember: (org: OrgName) => void;
  /** Wall clock, milliseconds. */
  readonly now?: () => number;
  /** Not shared with anybody. */
  readonly deadlines?: Deadlines;
}

const KEY = /^[\x21-\x7e]{1,64}$/;

/**
 * Requests that survive outages, on both sides. What the sides say to each other are records of the control channel `$requests`: put into the change that
 * makes them true on one side, into an inbox in the change that moves the watermark on the other, and looked at from there. What an organisation asks
 * itself goes into the inbox at once.
 */
export class StoredRequests {
  readonly asking: Asking;
  readonly #answering: Answering;
  readonly #options: StoredOptions;
  readonly #steps: Steps;
  readonly #inbox: StoredInbox;
  readonly #deadlines: Deadlines;
  #pumping: Promise<void> | undefined;
  #again = false;
  #busy = false;

  private constructor(options: StoredOptions) {
    const { org, store, onEvent, now = () => Date.now() } = options;
    this.#options = options;
    this.#deadlines = options.deadlines ?? new Deadlines();
    this.#steps = new Steps(store, error => onEvent({ kind: 'failed', error }));
    this.#inbox = new StoredInbox(store);
    const send = (step: Change, to: OrgName, exchange: Buffer): void =>
      this.#steps.last(step, change => {
        if (to !== org) return options.send(change, to, exchange);
        this.#inbox.put(change, org, exchange);
        // Changes are committed in order: by then it is through, or it never will be.
        setImmediate(() => this.#pump());
      });
    const parts = { org, store, steps: this.#steps, deadlines: this.#deadlines, now, send, onEvent };
    this.asking = new Asking(parts);
    this.#answering = new Answering({
      ...parts,
      dispatcher: options.dispatcher,
      // What is asked of the own organisation was judged when it was asked.
      allow: (from, channel, node, bytes) =>
        from === org ? undefined : options.allow?.(from, node, org, channel, bytes),
      judge: (from, channel, node) =>
        from === org ? this.#judgeOwn(channel, node) : options.judge(from, channel, node),
    });
  }

  /** Rejects with STORE_*. */
  static async open(options: StoredOptions): Promise<StoredRequests> {
    const stored = new StoredRequests(options);
    await stored.asking.load();
    await stored.#answering.load();
    await stored.#inbox.load();
    stored.#pump();
    return stored;
  }

  /** How many of own nodes or others wait for an answer of own nodes. */
  get open(): number {
    return this.#answering.open;
  }

  /** Rejects as Asking.ask, and with NOT_GRANTED, ORG_UNKNOWN, FRAME_TOO_LARGE, CHANNEL_RESERVED, FEATURE_UNSUPPORTED. */
  async ask(node: string, addressText: string, record: RecordBlock, terms: LaterTerms): ReturnType<Asking['ask']> {
    const { org, access, checkMember } = this.#options;
    const address = parseAddress(addressText, org);
    access.checkRequest(node, address);
    if (address.org !== org) checkMember(address.org);
    if (terms.key && !KEY.test(terms.key))
      throw fieldError('idempotency_key', 'must be up to 64 of the characters 0x21 to 0x7e');
    checkedRecord(record.bytes);
    await this.#options.allow?.(org, node, address.org, address.channel, record.bytes.length);
    return this.asking.ask(node, address, Buffer.from(record.bytes), terms);
  }

  /** What another gateway says, into the change that stores that it came. Throws FRAME_MALFORMED, LIMIT_REACHED. */
  receive(from: OrgName, payloads: readonly Buffer[], change: Change): () => void {
    const exchanges = payloads.map(decoded);
    if (this.#inbox.waiting(from) + payloads.length > MAX_INBOX_PER_ORG) {
      throw new FedgateError('LIMIT_REACHED', `too much of ${from} was not looked at yet`, { retryAfterMs: 1_000 });
    }
    for (const [i, { what }] of exchanges.entries()) {
      const payload = payloads[i];
      if (!what || !payload) continue;
      const id = Buffer.from(what.value.id);
      if (id.length !== 16) throw malformed('the id of a stored request');
      // An answer for which nobody waits takes no room, nor does a request for which there is none.
      if (what.$case === 'answer' && !this.asking.expects(from, id.toString('hex'))) continue;
      if (what.$case === 'ask' && !this.#answering.hasRoom(from, this.#inbox.waiting(from))) {
        const why = failure({ reason: 'LIMIT_REACHED', message: `too many stored requests of ${from} wait` });
        this.#options.send(change, from, encoded({ $case: 'answer', value: answerOf(id, why, NOBODY) }));
        continue;
      }
      this.#inbox.put(change, from, payload);
    }
    return () => this.#pump();
  }

  /** What the gateway of an organisation did not even look at: its requests end as if it had refused each of them. */
  refused(org: OrgName, payloads: readonly Buffer[], error: FedgateError, change: Change): () => void {
    // What gateways answer that do not know the channel.
    const unsupported = {
      reason: 'FEATURE_UNSUPPORTED',
      message: `the gateway of ${org} knows no stored requests`,
    } as const;
    const why = failure(error.reason === 'CHANNEL_RESERVED' ? unsupported : error);
    for (const payload of payloads) {
      const what = readable(payload);
      if (what?.$case !== 'ask') continue;
      this.#inbox.put(
        change,
        org,
        encoded({ $case: 'answer', value: answerOf(Buffer.from(what.value.id), why, NOBODY) }),
      );
    }
    return () => this.#pump();
  }

  /** Nothing begins any more; resolves when what is under way is on the disk. */
  async close(): Promise<void> {
    await this.#steps.close();
    this.#deadlines.close();
    await this.#pumping;
  }

  #judgeOwn(channel: string, node: string): FedgateError | undefined {
    const { access, org } = this.#options;
    try {
      access.checkRequest(node, { org, channel });
      return undefined;
    } catch (error) {
      return error as FedgateError;
    }
  }

  #pump(): void {
    this.#again = true;
    if (!this.#busy) this.#pumping = this.#lookAtAll();
  }

  async #lookAtAll(): Promise<void> {
    this.#busy = true;
    while (this.#again && !this.#steps.stopped) {
      this.#again = false;
      try {
        for (let some = await this.#inbox.take(); some.length > 0; some = await this.#inbox.take()) {
          if (this.#steps.stopped) break;
          await Promise.all(some.map(({ from, row }) => this.#lookAt(from, row)));
        }
      } catch (error) {
        if (this.#steps.stopped) break;
        this.#options.onEvent({ kind: 'failed', error });
        this.#again = true;
        await delay(DISK_RETRY_MS, undefined, { ref: false });
      }
    }
    this.#busy = false;
  }

  #lookAt(from: OrgName, row: Row): Promise<void> {
    const what = row.damaged ? undefined : readable(row.value);
    if (!what) this.#options.onEvent({ kind: 'row-damaged', table: TABLE.inbox, key: row.key.toString('hex') });
    const id = what ? Buffer.from(what.value.id) : row.key;
    const side = what?.$case === 'answer' ? 'a' : `t ${from}`;
    return this.#steps.surely(`${side} ${id.toString('hex')}`, change => {
      change.remove(TABLE.inbox, row.key);
      const after = what ? this.#heard(change, from, what) : () => undefined;
      return () => {
        this.#inbox.done(from);
        after();
      };
    });
  }

  #heard(change: Change, from: OrgName, what: NonNullable<StoredExchange['what']>): () => void {
    if (what.$case === 'ask') return this.#answering.take(change, from, what.value);
    if (what.$case === 'answer') return this.asking.answered(change, from, what.value);
    return this.#answering.cancel(change, from, Buffer.from(what.value.id));
  }
}

const NOBODY = { node: '', attempts: 0 };

/** What was said; undefined when it cannot be read. */
function readable(payload: Buffer): StoredExchange['what'] {
  try {
    return StoredExchange.decode(payload).what;
  } catch {
    return undefined;
  }
}

function decoded(payload: Buffer): StoredExchange {
  try {
    return StoredExchange.decode(payload);
  } catch {
    throw malformed('a StoredExchange');
  }
}
