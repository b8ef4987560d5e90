import type { KeyObject } from 'node:crypto';
import type { BatchHeader } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { formatPosition } from '../durable/position.js';
import { placeOf, type ReceiverDecision } from '../durable/resume.js';
import type { Inbox, Outbox, ReceivedDurable, StreamId, StreamPosition, Withheld } from '../durable/types.js';
import { FedgateError, type Reason } from '../errors.js';
import { Fifo } from '../fifo.js';
import type { Identity } from '../identity/verify.js';
import { sha256 } from '../sha256.js';
import { Change } from '../store/store.js';
import { BATCH_OVERHEAD_BYTES, type SealedBatch } from '../wire/lane-frames.js';
import { malformed } from '../wire/reader.js';
import { readRecords } from '../wire/record-codec.js';
import { MAX_FRAME_BYTES } from '../wire/records.js';
import { checkContent, openHeader } from './batch.js';
import type { ControlReceiver } from './control-receiver.js';
import { costOf } from './durable-sender.js';
import { encodeFrame, type Lane } from './lane.js';
import { certificateOf, MAX_RECEIPT_BATCHES, makeReceipt, type Receipted, type ReceiptTerms } from './receipt.js';

/**
 * Why records of a node are refused; undefined: they are taken. Batches behind one that is being judged wait for it. Throws and rejects when
 * that cannot be found out at the moment: then it is asked again, after a while.
 */
export type Judge = (
  channel: string,
  senderNode: string,
  size: { readonly records: number; readonly bytes: number },
) => FedgateError | undefined | Promise<FedgateError | undefined>;

interface Judged {
  readonly refusal: FedgateError | undefined;
}

/** How long to wait before a batch is judged again, milliseconds. */
const JUDGE_AGAIN_MS = 1_000;

export interface DurableReceiverOptions {
  readonly lane: Lane;
  readonly inbox: Inbox;
  /** Ours to the same organisation: knows which of our batches have receipts. */
  readonly outbox: Pick<Outbox, 'unreceipted'>;
  readonly peer: Identity;
  readonly from: StreamId;
  /** What our receipts say. */
  readonly terms: ReceiptTerms;
  readonly signingKey: KeyObject;
  readonly judge: Judge;
  /** Who hears what the peer's gateway says on reserved channels. */
  readonly control: ReadonlyMap<string, ControlReceiver>;
  /** Hears what must end the lane. */
  readonly fail: (error: unknown) => void;
}

/** Bytes that one peer may have on the way: 80 MB/s at 100 ms need 8 MiB. Memory: that much per peer at most. */
export const MAX_DURABLE_WINDOW_BYTES = 16 * 1024 * 1024;
/** As long as there is room at all, one batch of the largest size is let in. */
const MIN_WINDOW_BYTES = MAX_FRAME_BYTES + BATCH_OVERHEAD_BYTES;
/** Credit is worth a frame when it rose by this much, or when the peer may be waiting for it. */
const CREDIT_STEP_BYTES = 1024 * 1024;
/** A receipt of the peer's, told to the peer so that it may forget, is worth a frame after so many batches. */
const TELL_EVERY_BATCHES = 256;

const WITHHELD: readonly (Withheld | undefined)[] = [undefined, 'expired', 'purged', 'lost'];

interface StoredBatch extends Receipted {
  readonly epoch: bigint;
  readonly sequence: number;
}

/**
 * Takes the batches of a durable lane: verifies each, hands it to the inbox, and signs receipts for what is on stable storage: one for
 * all that one commit stored.
 */
export class DurableReceiver {
  readonly #options: DurableReceiverOptions;
  readonly #unsubscribe: () => void;
  readonly #stored = new Fifo<StoredBatch>();
  #at: StreamPosition | undefined;
  #granted = 0;
  #takenBytes = 0;
  #pendingBytes = 0;
  #pending = 0;
  #judging: Promise<void> | undefined;
  #open = false;
  #stopped = false;
  #scheduled = false;
  #told: StreamPosition | undefined;
  #quiet: (() => void)[] = [];
  recordsReceived = 0;

  constructor(options: DurableReceiverOptions) {
    this.#options = options;
    this.#unsubscribe = options.inbox.onRoom(() => this.credit());
  }

  /** Begins: says again which batches have receipts that may have got lost, and lets the peer send. */
  async start({ resend }: Extract<ReceiverDecision, { kind: 'go' }>): Promise<void> {
    const { inbox, from } = this.#options;
    this.#at = inbox.watermark(from);
    this.credit();
    for (const { epoch, first, last } of resend) await this.#resend(epoch, first, last);
    this.#open = true;
    this.flush();
  }

  /** Takes a batch. Throws what must end the lane. */
  take(sealed: SealedBatch): void {
    if (this.#stopped) return;
    const { peer, terms } = this.#options;
    const cost = costOf(sealed);
    this.#takenBytes += cost;
    if (this.#takenBytes > this.#granted) {
      const message = `${peer.org} sent more than it was allowed to`;
      throw new FedgateError('CREDIT_EXCEEDED', message, { metadata: { limit: 'credit' } });
    }
    const header = openHeader(sealed, terms, peer.publicKey);
    const position = this.#place(header);
    const withheld = withheldOf(sealed);
    if (!withheld) checkContent(header, sealed, terms);
    this.#at = position;
    this.#store(sealed, header, position, withheld, cost);
  }

  /** Puts receipts for all that was stored since the last, as long as the lane takes them. */
  flush(): void {
    const { lane, terms, signingKey } = this.#options;
    if (!this.#open) return;
    while (this.#stored.length > 0 && lane.out.writable) {
      const group = this.#group();
      const [first] = group;
      if (!first) return;
      lane.put({ $case: 'receipt', value: makeReceipt(terms, first, group, signingKey, Date.now()) });
    }
    this.credit();
  }

  /** Tells the peer how much more it may send. */
  credit(): void {
    const { lane, inbox, from } = this.#options;
    if (this.#stopped || lane.closed.aborted || !lane.out.writable) return;
    const room = inbox.room(from);
    const window = room <= 0 ? 0 : Math.min(MAX_DURABLE_WINDOW_BYTES, Math.max(room, MIN_WINDOW_BYTES));
    const target = this.#takenBytes + Math.max(0, window - this.#pendingBytes);
    const rise = target - this.#granted;
    const mayWait = this.#granted - this.#takenBytes < MIN_WINDOW_BYTES;
    if ((rise >= CREDIT_STEP_BYTES || (rise > 0 && mayWait)) && target > this.#granted) this.#grant(target);
    else if (this.#worthTelling()) this.#grant(this.#granted);
  }

  /** Takes nothing more. Resolves when nothing is being stored. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    await this.quiet();
  }

  /** Resolves when all that came is stored and has receipts, or cannot have any. */
  quiet(): Promise<void> {
    return new Promise(resolve => {
      this.#quiet.push(resolve);
      this.#checkQuiet();
    });
  }

  /** Signed and for us, it must also be the next of its stream. Whatever is not is a lie or a defect: nothing was lost. */
  #place({ durable, streamEpoch, sequence, originOrg }: BatchHeader): StreamPosition {
    if (!durable) throw new FedgateError('REPLAYED', 'a live batch on the durable lane');
    const position = { epoch: streamEpoch, sequence: Number(sequence) };
    const place = placeOf(this.#at, position);
    const next = this.#at ? `behind ${formatPosition(this.#at)}` : 'as the first';
    if (place === 'again')
      throw new FedgateError('REPLAYED', `batch ${formatPosition(position)} of ${originOrg} came again, ${next}`);
    if (place === 'gap')
      throw new FedgateError('FRAME_UNEXPECTED', `batch ${formatPosition(position)} of ${originOrg} came ${next}`);
    return position;
  }

  #store(
    sealed: SealedBatch,
    header: BatchHeader,
    position: StreamPosition,
    withheld: Withheld | undefined,
    cost: number,
  ): void {
    this.#pending++;
    this.#pendingBytes += cost;
    const settled = (): void => {
      this.#pending--;
      this.#pendingBytes -= cost;
      this.#checkQuiet();
    };
    const judge = () => this.#judged(header, sealed, withheld);
    const first = this.#judging === undefined ? atOnce(judge) : undefined;
    if (first && !(first instanceof Promise))
      return this.#keep(sealed, header, position, withheld, first.refusal, settled);
    // In the order in which they came.
    const before = this.#judging;
    const judging = (async () => {
      await before;
      const judged = await this.#untilJudged(judge, first);
      if (judged) this.#keep(sealed, header, position, withheld, judged.refusal, settled);
      else settled();
    })();
    this.#judging = judging;
    void judging.then(() => {
      if (this.#judging === judging) this.#judging = undefined;
    });
  }

  /** Asks until there is an answer: the sender keeps what is not taken, and sends no more than it has credit for. Undefined: the lane is over. */
  async #untilJudged(judge: () => ReturnType<Judge>, first: Promise<Judged> | undefined): Promise<Judged | undefined> {
    const { lane } = this.#options;
    let answer = first;
    while (!this.#stopped && !lane.closed.aborted) {
      try {
        return answer === undefined ? { refusal: await judge() } : await answer;
      } catch (error) {
        answer = undefined;
        await pause((error as FedgateError).retryAfterMs ?? JUDGE_AGAIN_MS, lane.closed);
      }
    }
    return undefined;
  }

  #judged(
    { channel, senderNode, recordCount: records }: BatchHeader,
    sealed: SealedBatch,
    withheld: Withheld | undefined,
  ): FedgateError | undefined | Promise<FedgateError | undefined> {
    // A receipt must not say that records are stored which never came.
    if (withheld) return withheldRefusal(withheld);
    if (this.#options.control.has(channel)) return undefined;
    return this.#options.judge(channel, senderNode, { records, bytes: sealed.records.bytes.length });
  }

  #keep(
    sealed: SealedBatch,
    header: BatchHeader,
    position: StreamPosition,
    withheld: Withheld | undefined,
    judged: FedgateError | undefined,
    settled: () => void,
  ): void {
    const { inbox } = this.#options;
    const { refusal, extra, afterwards } = this.#meaning(header, sealed, withheld, judged);
    const batch: ReceivedDurable = {
      epoch: position.epoch,
      sequence: position.sequence,
      from: this.#options.from,
      channel: header.channel,
      senderNode: header.senderNode,
      header: sealed.header,
      signature: sealed.signature,
      certificate: certificateOf(this.#options.peer),
      contentSha256: Buffer.from(header.contentSha256),
      recordCount: header.recordCount,
      expireMs: Number(header.expireTimeMs),
      sentMs: Number(header.timeMs),
      notifyConsumed: header.notifyConsumed,
      records: withheld ? undefined : sealed.records,
      withheld,
      refusal,
    };
    const headerSha256 = sha256(sealed.header);
    const { epoch, sequence } = position;
    inbox
      .receive(batch, extra)
      .then(
        () => {
          afterwards();
          this.#stored.push({ epoch, sequence, headerSha256, refusal });
          this.recordsReceived += header.recordCount;
          this.#schedule();
        },
        error => this.#options.fail(error),
      )
      .finally(settled);
  }

  /** What is to be made of a batch: part of the log, refused, or something that is heard here in the same change. */
  #meaning(
    { channel }: BatchHeader,
    sealed: SealedBatch,
    withheld: Withheld | undefined,
    judged: FedgateError | undefined,
  ): {
    readonly refusal: FedgateError | undefined;
    readonly extra: ((change: Change) => unknown) | undefined;
    readonly afterwards: () => void;
  } {
    const control = this.#options.control.get(channel);
    let refusal = judged;
    if (!control) return { refusal, extra: undefined, afterwards: nothing };
    const said = new Change();
    let afterwards = nothing;
    try {
      if (!withheld) afterwards = control(payloadsOf(sealed), said);
    } catch (error) {
      // It counts as received, or it would come again for ever. Nothing of it is stored.
      refusal = asRefusal(error);
    }
    return { refusal, extra: change => (refusal ? change : change.add(said)), afterwards };
  }

  /** What one commit stored resolves in one turn of the loop: one receipt for all of it. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
      this.#checkQuiet();
    });
  }

  /** Batches that one receipt can speak of. */
  #group(): StoredBatch[] {
    const group: StoredBatch[] = [];
    for (let next = this.#stored.peek(); next && group.length < MAX_RECEIPT_BATCHES; next = this.#stored.peek()) {
      if (group[0] && group[0].epoch !== next.epoch) break;
      group.push(next);
      this.#stored.shift();
    }
    return group;
  }

  async #resend(epoch: bigint, first: number, last: number | undefined): Promise<void> {
    const { inbox, from, lane, terms, signingKey } = this.#options;
    for (let at = first; last === undefined || at <= last; ) {
      const end = Math.min(at + MAX_RECEIPT_BATCHES - 1, last ?? Number.MAX_SAFE_INTEGER);
      const known = await inbox.remembered(from, epoch, at, end);
      const count = last === undefined ? known.findLastIndex(batch => batch !== undefined) + 1 : end - at + 1;
      if (count === 0 || lane.closed.aborted) return;
      const batches = Array.from(
        { length: count },
        (_, i) => known[i] ?? { headerSha256: undefined, refusal: undefined },
      );
      const receipt = makeReceipt(terms, { epoch, sequence: at }, batches, signingKey, Date.now());
      await lane.out.send(encodeFrame({ $case: 'receipt', value: receipt }));
      if (last === undefined && count < MAX_RECEIPT_BATCHES) return;
      at += count;
    }
  }

  #worthTelling(): boolean {
    const { receipted } = this;
    if (!receipted) return false;
    return this.#told?.epoch !== receipted.epoch || receipted.sequence - this.#told.sequence >= TELL_EVERY_BATCHES;
  }

  /** The last of our own batches with a receipt. */
  get receipted(): StreamPosition | undefined {
    const { epoch, sequence } = this.#options.outbox.unreceipted;
    return sequence > 1 ? { epoch, sequence: sequence - 1 } : undefined;
  }

  #grant(bytes: number): void {
    this.#granted = bytes;
    this.#told = this.receipted;
    const value = {
      bytes: BigInt(bytes),
      receiptedEpoch: this.#told?.epoch ?? 0n,
      receiptedSequence: BigInt(this.#told?.sequence ?? 0),
    };
    this.#options.lane.put({ $case: 'credit', value });
  }

  #checkQuiet(): void {
    if (this.#pending > 0) return;
    if (this.#stored.length > 0 && !this.#stopped && !this.#options.lane.closed.aborted) return;
    for (const resolve of this.#quiet.splice(0)) resolve();
  }
}

/** A kind of holding back that is not known is one all the same. */
function withheldOf({ withheld }: SealedBatch): Withheld | undefined {
  return withheld === undefined ? undefined : (WITHHELD[withheld] ?? 'lost');
}

const WITHHELD_REASONS: { readonly [why in Withheld]: Reason } = {
  expired: 'EXPIRED',
  purged: 'PURGED',
  lost: 'BODY_UNREADABLE',
};

const withheldRefusal = (why: Withheld): FedgateError =>
  new FedgateError(WITHHELD_REASONS[why], 'the records were withheld by their sender');

const nothing = (): void => undefined;

/** Undefined: there is no answer at the moment. */
function atOnce(judge: () => ReturnType<Judge>): Judged | Promise<Judged> | undefined {
  try {
    const refusal = judge();
    return refusal instanceof Promise ? refusal.then(settled => ({ refusal: settled })) : { refusal };
  } catch {
    return undefined;
  }
}

function pause(ms: number, over: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      clearTimeout(timer);
      over.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    over.addEventListener('abort', done, { once: true });
  });
}

/** Throws FRAME_MALFORMED. */
function payloadsOf({ records }: SealedBatch): Buffer[] {
  try {
    return readRecords(records).map(({ payload }) => payload);
  } catch {
    throw malformed('records of a reserved channel');
  }
}

const asRefusal = (error: unknown): FedgateError =>
  error instanceof FedgateError ? error : new FedgateError('INTERNAL', 'internal error', { cause: error });
