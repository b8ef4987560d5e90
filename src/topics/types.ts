import type { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { RecordBlock } from '../wire/records.js';

/** Who signs the records of a topic: the gateway of an organisation. */
export interface AuthorId {
  readonly org: OrgName;
  readonly gateway: string;
}

/** What sequences count: the records of one author on one topic in one epoch. */
export interface StreamId extends AuthorId {
  readonly topic: string;
  readonly epoch: bigint;
}

/** Names a stream in maps. */
export type StreamKey = string;

export const streamKey = ({ topic, org, gateway, epoch }: StreamId): StreamKey => `${topic} ${org}/${gateway} ${epoch}`;

/** Records of one node that its gateway signed together. They are numbered `first` to `last`. */
export interface Post {
  readonly stream: StreamId;
  readonly key: StreamKey;
  readonly node: string;
  readonly first: number;
  readonly last: number;
  readonly timeMs: number;
  readonly expireMs: number;
  readonly header: Buffer;
  readonly signature: Buffer;
  readonly records: RecordBlock;
  /** SHA-256 of the header, and of that of the post before; empty: it is the first. */
  readonly headerSha256: Buffer;
  readonly previousSha256: Buffer;
  readonly certificateSha256: Buffer;
  /** The author's certificate, DER. */
  readonly certificate: Buffer;
  /** As it goes over a lane, without the certificate. Header, signature and records are views of it. */
  readonly frame: Buffer;
}

/** How far somebody has a stream. `first`: what is still held; one more than `last` when nothing is. */
export interface StreamState {
  readonly stream: StreamId;
  readonly first: number;
  readonly last: number;
}

/** What a neighbour says, beside posts. */
export type TopicsFrame =
  | {
      readonly kind: 'have';
      readonly streams: readonly StreamState[];
      readonly complete: boolean;
      readonly takes: readonly string[];
    }
  | { readonly kind: 'want'; readonly stream: StreamId; readonly from: number }
  | { readonly kind: 'stop'; readonly stream: StreamId; readonly refused: boolean }
  | { readonly kind: 'evidence'; readonly evidence: Evidence }
  | { readonly kind: 'paused'; readonly error: FedgateError; readonly forMs: number };

export interface SignedHeader {
  readonly header: Buffer;
  readonly signature: Buffer;
}

/** Two things that one author signed and that cannot both be. */
export interface Evidence {
  readonly certificate: Buffer;
  readonly first: SignedHeader;
  readonly second: SignedHeader;
}

/** The way to a neighbour. */
export interface NeighbourOut {
  /** Whether it takes frames now. What does not fit is not queued: it is sent from what is held, later. */
  readonly writable: boolean;
  put(frame: TopicsFrame): void;
  /** Sends a post, with the certificate if this neighbour does not know it yet. */
  post(post: Post): void;
}

/** Why something of an author does not count: `forged` says that whoever handed it on lies. */
export interface Objection {
  readonly error: FedgateError;
  readonly forged: boolean;
}

/** What the domain needs of the world. */
export interface TopicsHost {
  /** Milliseconds since 1970. */
  now(): number;
  /** Whether the signature over a header holds, and the signer is who the header says and may speak now. Undefined: all is well. */
  verify(signed: SignedHeader, author: AuthorId, certificate: Buffer): Objection | undefined;
  /** Something that whoever looks after the gateway should see. */
  alarm(error: FedgateError, facts: Readonly<Record<string, unknown>>): void;
  /** A number in [0, 1). */
  random(): number;
}
