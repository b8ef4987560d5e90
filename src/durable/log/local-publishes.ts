import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { sha256 } from '../../sha256.js';
import { Change } from '../../store/store.js';
import { joinBlocks, MAX_FRAME_RECORDS, type RecordBlock } from '../../wire/records.js';
import { Admission, type Claim, type IdempotencyTable } from '../idempotency.js';
import type { OutgoingRecords } from '../types.js';
import type { Channels } from './channels.js';
import { NO_PROOF } from './entry.js';
import type { Holds } from './holds.js';
import type { LogWriter, Numbered } from './writer.js';

/** Publishes are merged up to here: as large as a batch between gateways, so that entries cost the same wherever they come from. */
const ENTRY_BYTES = 256 * 1024;
/** What goes into one commit at most; the rest waits for the next. */
const COMMIT_BYTES = 8 * 1024 * 1024;

export interface Appended {
  readonly offset: number;
  readonly duplicate: boolean;
}

interface Publish {
  readonly records: OutgoingRecords;
  readonly claim: Claim | undefined;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/** Publishes of one channel, node and time to live that become one entry. */
interface Entry {
  readonly publishes: Publish[];
  bytes: number;
  count: number;
}

/**
 * What nodes of the own organisation publish durably. One commit is under way at a time, and what comes meanwhile is merged: the more
 * there is, the less each costs.
 */
export class LocalPublishes {
  readonly #ownOrg: OrgName;
  readonly #writer: LogWriter;
  readonly #holds: Holds;
  readonly #channels: Channels;
  readonly #now: () => number;
  readonly #admission: Admission;
  #waiting: Publish[] = [];
  #waitingBytes = 0;
  #busy = false;

  constructor(options: {
    readonly ownOrg: OrgName;
    readonly writer: LogWriter;
    readonly holds: Holds;
    readonly channels: Channels;
    readonly idempotency: IdempotencyTable;
    readonly now: () => number;
  }) {
    this.#ownOrg = options.ownOrg;
    this.#writer = options.writer;
    this.#holds = options.holds;
    this.#channels = options.channels;
    this.#now = options.now;
    this.#admission = new Admission(options.idempotency);
  }

  append(records: OutgoingRecords): Promise<Appended> {
    const { idempotency, senderNode: node, channel: address } = records;
    return new Promise((resolve, reject) => {
      this.#admission.admit(
        idempotency && { node, address, idempotency },
        judged => {
          if (judged.kind === 'new') this.#take({ records, claim: judged.claim, resolve, reject });
          else judged.position.then(({ sequence }) => resolve({ offset: sequence, duplicate: true }), reject);
        },
        reject,
      );
    });
  }

  #take(publish: Publish): void {
    const { channel, records } = publish.records;
    const bytes = records.bytes.length;
    if (this.#holds.full(this.#ownOrg, this.#channels.get(channel), this.#waitingBytes + bytes)) {
      const full = new FedgateError('INBOX_FULL', `the log holds as much of ${channel} unconsumed as it may`, {
        metadata: { channel },
        retryAfterMs: 1_000,
      });
      return refuse(publish, full);
    }
    this.#waiting.push(publish);
    this.#waitingBytes += bytes;
    if (this.#busy) return;
    this.#busy = true;
    // What is published in this same turn comes along.
    queueMicrotask(() => void this.#commitAll());
  }

  async #commitAll(): Promise<void> {
    try {
      while (this.#waiting.length > 0) await this.#commit(this.#takeWaiting());
    } finally {
      this.#busy = false;
    }
  }

  #takeWaiting(): Publish[] {
    let bytes = 0;
    let count = 0;
    for (const { records } of this.#waiting) {
      if (count > 0 && bytes + records.records.bytes.length > COMMIT_BYTES) break;
      bytes += records.records.bytes.length;
      count++;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  async #commit(publishes: readonly Publish[]): Promise<void> {
    const change = new Change();
    const taken: { readonly publish: Publish; readonly offset: number }[] = [];
    const numbered: Numbered[] = [];
    for (const entry of merge(publishes)) {
      const added = this.#add(change, entry);
      numbered.push(added);
      let { offset } = added.entry;
      for (const publish of entry.publishes) {
        taken.push({ publish, offset });
        offset += publish.records.records.count;
      }
    }
    // Recorded in the order of the calls, which merging may have changed.
    const offsets = new Map(taken.map(({ publish, offset }) => [publish, offset]));
    for (const publish of publishes) {
      const offset = offsets.get(publish);
      if (offset !== undefined) publish.claim?.record(change, { epoch: 0n, sequence: offset });
    }
    if (numbered.length === 0) return;
    try {
      await this.#writer.commit(change, numbered, () => {
        for (const { publish } of taken) publish.claim?.committed();
      });
    } catch (error) {
      for (const { publish } of taken) refuse(publish, error);
      return;
    }
    for (const { publish, offset } of taken) publish.resolve({ offset, duplicate: false });
  }

  #add(change: Change, { publishes }: Entry): Numbered {
    const [first] = publishes as [Publish];
    const { channel, senderNode, ttlMs, notifyConsumed } = first.records;
    const records: RecordBlock = joinBlocks(publishes.map(publish => publish.records.records));
    const draft = {
      count: records.count,
      channel,
      senderOrg: this.#ownOrg,
      senderNode,
      expireMs: ttlMs === 0 ? 0 : this.#now() + ttlMs,
      bytes: records.bytes.length,
      gap: undefined,
      stream: undefined,
      notifyConsumed,
      contentSha256: sha256(records.bytes),
    };
    return this.#writer.add(change, draft, records, NO_PROOF);
  }
}

function refuse({ claim, reject }: Publish, error: unknown): void {
  claim?.failed(error);
  reject(error);
}

/** Publishes of the same kind become one entry; those of a kind stay in order. */
function merge(publishes: readonly Publish[]): Iterable<Entry> {
  const open = new Map<string, Entry>();
  const entries: Entry[] = [];
  for (const publish of publishes) {
    const { records, claim } = publish;
    if (claim?.lost !== undefined) {
      refuse(publish, claim.lost);
      continue;
    }
    const kind = JSON.stringify([records.channel, records.senderNode, records.ttlMs, records.notifyConsumed]);
    const { bytes, count } = records.records;
    let entry = open.get(kind);
    if (!entry || entry.bytes + bytes.length > ENTRY_BYTES || entry.count + count > MAX_FRAME_RECORDS) {
      entry = { publishes: [], bytes: 0, count: 0 };
      open.set(kind, entry);
      entries.push(entry);
    }
    entry.publishes.push(publish);
    entry.bytes += bytes.length;
    entry.count += count;
  }
  return entries;
}
