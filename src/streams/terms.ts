import { FedgateError } from '../errors.js';

/** The furthest that credit may be ahead of what was received, bytes. */
export const MAX_WINDOW_BYTES = 16 * 1024 * 1024;
/** The most that a gateway keeps of one stream and direction for a lane that is slower than the node that sends. */
export const LANE_QUEUE_BYTES = 1024 * 1024;
/** What is kept for one node, or one lane, of all its streams: each has its share of it. */
export const SHARED_QUEUE_BYTES = 64 * 1024 * 1024;
/** The least share. */
export const LEAST_SHARE_BYTES = 64 * 1024;

/** How long an end, or a link, may be away: unless asked otherwise, and at most, milliseconds. */
export const DEFAULT_RESUME_MS = 30_000;
export const MAX_RESUME_MS = 600_000;
/** How long it may take until somebody has accepted. */
export const DEFAULT_OPEN_MS = 15_000;
export const MAX_OPEN_MS = 60_000;
/** How long one node has to take what it is offered. */
export const OFFER_MS = 10_000;
/** To how many nodes a stream is offered in turn. */
export const MAX_OFFERS = 3;

/** Streams of one node of the own organisation, opened and accepted. */
export const MAX_STREAMS_PER_NODE = 1_000;
/** Streams that nodes of one other organisation have open to here. */
export const MAX_STREAMS_PER_PEER = 1_000;
/** All streams of a gateway. */
export const MAX_STREAMS = 10_000;
/** AcceptStreams calls of one node. */
export const MAX_ACCEPT_CALLS_PER_NODE = 100;
export const DEFAULT_CAPACITY = 16;
export const MAX_CAPACITY = 1_000;
export const MAX_PATTERNS_PER_CALL = 100;
/** Streams that another organisation may open, at once and per second in the long run. */
export const OPENS = { burst: 1_000, perSecond: 200 } as const;

export const unexpected = (what: string): FedgateError => new FedgateError('FRAME_UNEXPECTED', what);
export const lost = (what: string): FedgateError => new FedgateError('STREAM_LOST', what);
export const full = (limit: string, message: string): FedgateError =>
  new FedgateError('LIMIT_REACHED', message, { retryAfterMs: 500, metadata: { limit } });
