import type { Change } from '../../store/store.js';
import type { Committer } from './committer.js';
import type { Held } from './held.js';
import type { Ledger, Segment } from './ledger.js';
import type { Loaded } from './loaded.js';
import { deadLetteredFrame, missingFrame } from './notices.js';
import type { Outcome, Shared } from './parts.js';
import { lengthOf } from './ranges.js';

export interface BurialOptions {
  readonly shared: Pick<Shared, 'deadLetters' | 'notify' | 'here' | 'onEvent'>;
  readonly name: string;
  readonly loaded: Loaded;
  readonly committer: Committer;
  readonly ledgers: () => readonly Ledger[];
  /** Has the records of an entry in memory, or known to be lost. */
  readonly read: (held: Held) => Promise<void>;
  /** Tells the consumers. */
  readonly tell: (frame: Buffer) => void;
  /** A redriven dead letter is one again. */
  readonly buried: (id: number) => void;
  readonly failed: (error: unknown) => void;
}

/** Records that one commit makes dead letters: each is a row, a body and maybe a notice. */
const RECORDS_A_COMMIT = 256;

/** Makes dead letters of the records that were given up, and tells their sender in the same change. */
export class Burial {
  readonly #options: BurialOptions;
  #running = false;

  constructor(options: BurialOptions) {
    this.#options = options;
  }

  run(): void {
    if (this.#running || this.#options.ledgers().every(({ dead }) => dead === 0)) return;
    this.#running = true;
    this.#buryAll()
      .catch(error => this.#options.failed(error))
      .finally(() => {
        this.#running = false;
      });
  }

  async #buryAll(): Promise<void> {
    for (;;) {
      const ledger = this.#options.ledgers().find(({ dead }) => dead > 0);
      const segment = ledger?.firstDead(RECORDS_A_COMMIT);
      if (!ledger || !segment) return;
      if (!segment.held.loaded) await this.#options.read(segment.held);
      // A commit that failed, or a seek, made another ledger meanwhile.
      if (!this.#options.ledgers().includes(ledger)) continue;
      this.#options.committer.store(change => this.#bury(change, ledger, segment));
      try {
        await this.#options.committer.flush();
      } catch {
        // The subscription is back at what is committed, and its consumers know.
        return;
      }
      if (ledger.segments.includes(segment)) return;
    }
  }

  #bury(change: Change, ledger: Ledger, segment: Segment): Outcome {
    const { shared, loaded, buried } = this.#options;
    const { held } = segment;
    const { deadLetter } = held;
    const outcomes: Outcome[] = [];
    if (deadLetter !== undefined)
      outcomes.push(shared.deadLetters.again(change, deadLetter, segment.reason, segment.count));
    else
      for (let offset = segment.first; offset <= segment.last; offset++)
        outcomes.push(this.#add(change, segment, offset));
    held.spoiled = true;
    ledger.bury(segment);
    if (held.ready === 0) loaded.unload(held);
    return committed => {
      for (const outcome of outcomes) outcome(committed);
      if (!committed) return;
      if (deadLetter !== undefined) buried(deadLetter);
      this.#told(segment);
    };
  }

  #add(change: Change, { held, reason, count }: Segment, offset: number): Outcome {
    const { shared, name } = this.#options;
    const { entry } = held;
    const { stream, channel, senderNode, senderOrg } = entry;
    if (stream) {
      const value = {
        streamEpoch: stream.epoch,
        sequence: BigInt(stream.sequence),
        record: offset - entry.offset,
        subscription: name,
        reason,
        deliveries: count,
        channel,
        senderNode,
      };
      shared.notify(change, senderOrg, { event: { $case: 'deadLettered', value } });
    }
    const record = held.records ? held.slice(offset, offset) : undefined;
    return shared.deadLetters.add(change, { subscription: name, entry, offset, reason, deliveries: count, record });
  }

  #told(segment: Segment): void {
    const { shared, name, tell } = this.#options;
    const { held, reason } = segment;
    const { channel, stream } = held.entry;
    if (!stream && held.deadLetter === undefined) shared.here.gaveUp(segment.first, segment.last, name, reason);
    if (held.lost !== undefined) tell(missingFrame(held, segment, false));
    else tell(deadLetteredFrame(segment, channel, reason));
    shared.onEvent({ kind: 'dead-lettered', name, records: lengthOf(segment), channel, reason });
  }
}
