import type { KeyObject } from 'node:crypto';
import type { Reason } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import type { Change, Store } from '../../store/store.js';
import type { ApproverDirectory } from '../types.js';

/** What happens in a book that an operator should know of. */
export type BookEvent =
  /** Somebody may be cheating. Said once per deed, and rarely by one who floods. */
  | {
      readonly kind: 'alarm';
      readonly reason: Reason;
      readonly org: string;
      readonly proposal: string;
      readonly message: string;
    }
  /** Something that another organisation said was not taken. */
  | {
      readonly kind: 'refused';
      readonly reason: Reason;
      readonly org: string;
      readonly proposal: string;
      readonly message: string;
    }
  /** That organisation has so much refused that the log and these events say no more of it for a while. */
  | { readonly kind: 'refusals-muted'; readonly org: string }
  /** A proposal is there, or has ended. */
  | { readonly kind: 'proposal'; readonly proposal: string; readonly state: string; readonly why: string }
  /** A vote waits for its proposal, or for its key in the registry. */
  | { readonly kind: 'vote-early'; readonly org: string; readonly proposal: string }
  /** Too many of them wait: the oldest of that organisation are gone. */
  | { readonly kind: 'early-dropped'; readonly org: string; readonly votes: number }
  | { readonly kind: 'row-damaged'; readonly table: string; readonly key: string }
  /** It is tried again. */
  | { readonly kind: 'failed'; readonly error: unknown };

/** What a time is waited for with. */
export interface Clock {
  now(): number;
  /** Calls back once, after so many milliseconds; at most 2³¹ − 1. Returns the way to stop that. */
  after(ms: number, ring: () => void): () => void;
}

/** With whose name and key this gateway gives receipts. */
export interface ReceiptSigner {
  readonly key: KeyObject;
  /** DER. */
  readonly certificate: Buffer;
}

export interface BookOptions {
  /** The federation's domain. */
  readonly federation: string;
  readonly org: OrgName;
  readonly gateway: string;
  readonly store: Store;
  readonly directory: ApproverDirectory;
  /** Puts a message for the gateway of another organisation into a change: it is sent once that is committed. */
  readonly send: (change: Change, org: OrgName, exchange: Buffer) => void;
  /** Asked for each receipt: certificates are renewed while the process runs. */
  readonly signer: () => ReceiptSigner;
  /** The key of a gateway's certificate (DER), which a CA of that organisation must have signed. Throws CERTIFICATE_*, ORG_INACTIVE. */
  readonly verifyGatewayCertificate: (org: OrgName, der: Buffer) => KeyObject;
  /** Whether that organisation may send proposals. */
  readonly mayPropose: (org: OrgName) => boolean;
  readonly clock?: Clock;
  readonly limits?: Partial<BookLimits>;
  readonly onEvent?: (event: BookEvent) => void;
}

export interface BookLimits {
  /** Open proposals of one proposer, and the bytes that lists of them hold. */
  readonly openPerOrg: number;
  readonly openBytesPerOrg: number;
  /** Votes of one organisation that wait for their proposal or key. */
  readonly earlyPerOrg: number;
  readonly earlyBytesPerOrg: number;
  /** What one organisation said and was not looked at yet. */
  readonly inboxPerOrg: number;
  readonly inboxBytesPerOrg: number;
}

/** Some 3 KiB of memory each: 10,000 open ones of one proposer take 30 MiB. */
export const MAX_OPEN_PER_ORG = 10_000;
export const MAX_OPEN_BYTES_PER_ORG = 32 * 1024 * 1024;
export const MAX_EARLY_PER_ORG = 256;
export const MAX_EARLY_BYTES_PER_ORG = 4 * 1024 * 1024;
/** On the disk. More than an honest gateway has to say at once: what is refused for it is not sent again, and a vote must not be lost. */
export const MAX_INBOX_PER_ORG = 100_000;
export const MAX_INBOX_BYTES_PER_ORG = 64 * 1024 * 1024;

export const DEFAULT_BOOK_LIMITS: BookLimits = {
  openPerOrg: MAX_OPEN_PER_ORG,
  openBytesPerOrg: MAX_OPEN_BYTES_PER_ORG,
  earlyPerOrg: MAX_EARLY_PER_ORG,
  earlyBytesPerOrg: MAX_EARLY_BYTES_PER_ORG,
  inboxPerOrg: MAX_INBOX_PER_ORG,
  inboxBytesPerOrg: MAX_INBOX_BYTES_PER_ORG,
};

export const SYSTEM_CLOCK: Clock = {
  now: Date.now,
  after: (ms, ring) => {
    const timer = setTimeout(ring, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
