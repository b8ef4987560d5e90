import type { FedgateError } from '../errors.js';
import type { Log } from '../telemetry/log.js';
import { TokenBucket } from '../token-bucket.js';

/** Reasons that an honest caller never causes. */
const SECURITY_REASONS: ReadonlySet<string> = new Set([
  'CERTIFICATE_MISSING',
  'CERTIFICATE_UNTRUSTED',
  'CERTIFICATE_EXPIRED',
  'CERTIFICATE_REVOKED',
  'CERTIFICATE_ROLE',
  'TOKEN_INVALID',
  'IDENTITY_MISMATCH',
  'SIGNATURE_INVALID',
  'REPLAYED',
  'WRONG_RECIPIENT',
  'WATERMARK_INVALID',
  'RECEIPT_INVALID',
  'CREDIT_EXCEEDED',
  'ORG_INACTIVE',
  'SNAPSHOT_STALE',
  'SNAPSHOT_FORKED',
  'SNAPSHOT_INVALID',
  'CHANNEL_RESERVED',
  'NOT_GRANTED',
]);

/** Lines at once, and per second in the long run, about one source and reason. */
const BURST = 20;
const PER_SECOND = 2;
const MAX_SOURCES = 1_000;

interface Source {
  readonly bucket: TokenBucket;
  suppressed: number;
}

/**
 * Writes refusals to the log, as security events when an honest caller would not have caused them. What one source repeats is counted
 * and not written, so that nobody fills a disk by being refused; the next line that is written tells how many were left out.
 */
export class Refusals {
  readonly #log: Log;
  readonly #sources = new Map<string, Source>();
  total = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** `source` is who was refused: an organisation, or the host of a caller. `security`: whether an honest one never causes this. */
  write(
    error: FedgateError,
    source: string,
    facts: Record<string, unknown>,
    security = SECURITY_REASONS.has(error.reason),
  ): void {
    this.total++;
    const known = this.#source(`${error.reason} ${source}`);
    if (known.bucket.take(performance.now()) > 0) {
      known.suppressed++;
      return;
    }
    const event = { ...facts, ...(known.suppressed > 0 ? { suppressed: known.suppressed } : {}), err: error };
    known.suppressed = 0;
    if (security) this.#log.warn({ security: true, ...event }, 'refused');
    else this.#log.info(event, 'refused');
  }

  #source(key: string): Source {
    let source = this.#sources.get(key);
    if (!source) {
      if (this.#sources.size >= MAX_SOURCES) this.#sources.clear();
      source = { bucket: new TokenBucket(BURST, PER_SECOND, performance.now()), suppressed: 0 };
      this.#sources.set(key, source);
    }
    return source;
  }
}
