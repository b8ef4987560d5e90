import { sha256 } from '../../sha256.js';
import { Change } from '../../store/store.js';
import { compare } from '../position.js';
import { LOST_CHANNEL, type ReceivedDurable, type StreamId, type StreamPosition } from '../types.js';
import { NO_PROOF } from './entry.js';
import type { Streams } from './streams.js';
import { CERTIFICATE } from './tables.js';
import type { LogWriter, Numbered } from './writer.js';

/** Certificates that are known to be stored: those of every gateway of a large federation. */
const MAX_CERTIFICATES = 4_096;

const WITHHELD = {
  expired: { kind: 'expired', reason: 'their time to live was over before they could be sent' },
  purged: { kind: 'gap', reason: "the sender's operator purged them" },
  lost: { kind: 'gap', reason: "they could no longer be read from the sender's disk" },
} as const;

/** Stores what comes from other organisations: the entry, the watermark, and what receipts need, in one change. */
export class Receiver {
  readonly #writer: LogWriter;
  readonly #streams: Streams;
  /** Digests of certificates that are on stable storage. */
  readonly #certificates = new Set<string>();

  constructor(writer: LogWriter, streams: Streams) {
    this.#writer = writer;
    this.#streams = streams;
  }

  /** Nothing is awaited before the change is handed in: the order of the calls is that of the log. */
  async receive(batch: ReceivedDurable, extra: ((change: Change) => unknown) | undefined): Promise<void> {
    const { from, epoch, sequence, header, refusal } = batch;
    const position = { epoch, sequence };
    this.#streams.check(from, position);
    const change = new Change();
    const certificate = this.#keepCertificate(change, batch.certificate);
    // What was held back is a gap, whatever the receipt says of it.
    const numbered = extra || (refusal && !batch.withheld) ? [] : [this.#add(change, batch)];
    this.#streams.move(change, from, position);
    this.#streams.remember(change, from, position, { headerSha256: sha256(header), refusal });
    extra?.(change);
    await this.#writer.commit(change, numbered, () => {
      this.#streams.committed(from, position);
      this.#certificates.add(certificate);
    });
  }

  /** Resolves with whether there was anything to be skipped. */
  async skip(from: StreamId, to: StreamPosition): Promise<boolean> {
    const after = this.#streams.watermark(from);
    if (after && compare(to, after) <= 0) return false;
    const change = new Change();
    const reason = `batches of ${from.org}/${from.gateway} up to ${to.sequence} were forgotten when this gateway's store was restored`;
    const gap = {
      count: 1,
      // Which channels they were for is not known.
      channel: '',
      senderOrg: from.org,
      senderNode: '',
      expireMs: 0,
      bytes: 0,
      gap: { kind: 'gap', reason } as const,
      stream: { from, ...to },
      notifyConsumed: false,
      contentSha256: Buffer.alloc(0),
    };
    const numbered = this.#writer.add(change, gap, undefined, NO_PROOF);
    this.#streams.move(change, from, to);
    await this.#writer.commit(change, [numbered], () => this.#streams.committed(from, to));
    return true;
  }

  #add(change: Change, batch: ReceivedDurable): Numbered {
    const { from, epoch, sequence, withheld, header, signature, certificate } = batch;
    const records = withheld ? undefined : batch.records;
    const draft = {
      count: batch.recordCount,
      channel: withheld && batch.channel === LOST_CHANNEL ? '' : batch.channel,
      senderOrg: from.org,
      senderNode: batch.senderNode,
      expireMs: batch.expireMs,
      bytes: records?.bytes.length ?? 0,
      gap: withheld && WITHHELD[withheld],
      stream: { from, epoch, sequence },
      notifyConsumed: batch.notifyConsumed,
      contentSha256: batch.contentSha256,
    };
    return this.#writer.add(change, draft, records, { header, signature, certificateSha256: certificate.sha256 });
  }

  /** Written again after a restart, and until a change with it is committed: the row is the same. */
  #keepCertificate(change: Change, { sha256: digest, der }: ReceivedDurable['certificate']): string {
    const name = digest.toString('latin1');
    if (this.#certificates.size > MAX_CERTIFICATES) this.#certificates.clear();
    if (!this.#certificates.has(name)) change.put(CERTIFICATE, digest, der);
    return name;
  }
}
