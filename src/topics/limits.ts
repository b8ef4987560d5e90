/** Every bound of topics that is no setting. Memory of a gateway: what retention holds, and these numbers of small entries. */

/** Topics that a gateway knows of. */
export const MAX_TOPICS = 1_000;
/** Streams (topic, author and epoch) of all topics. */
export const MAX_STREAMS = 4_096;
/** Of these, of one organisation: one author cannot take the place of all others. */
export const MAX_STREAMS_PER_ORG = 1_024;
/** Epochs of one author on one topic that are open at once: it draws one when its store was restored. */
export const MAX_EPOCHS = 8;
/** Streams that one neighbour may say it has. */
export const MAX_CLAIMS = 4_096;
/** Streams named in one frame. */
export const MAX_NAMED = 500;
/** Patterns that a gateway takes. */
export const MAX_TAKES = 256;
/** Authors that are muted, over all topics. */
export const MAX_MUTED = 1_000;
/** Certificates of authors remembered for one neighbour: one that sends more sends them again. */
export const MAX_CERTIFICATES = 2_048;

/** The longest life of a record. */
export const MAX_TTL_MS = 30 * 24 * 3_600_000;
/** How far an author's clock may be ahead. */
export const MAX_AHEAD_MS = 5 * 60_000;

/**
 * What an author may publish on one topic, by its own signed times. The same in every gateway: all come to one judgement. An honest author
 * keeps to half of the bursts, so that no rounding makes a flooder of it.
 */
export const AUTHOR_POSTS = { burst: 8_000, perSecond: 2_000 } as const;
export const AUTHOR_BYTES = { burst: 128 * 1024 * 1024, perSecond: 16 * 1024 * 1024 } as const;
export const HONEST_SHARE = 0.5;
/** How long nothing is taken of an author that published faster. */
export const FLOOD_MUTE_MS = 10 * 60_000;

/** Frames of a neighbour that are of no use (what is here already, was not granted, or comes behind a gap), at once and per second. */
export const USELESS = { burst: 4_000, perSecond: 100 } as const;
/** Streams that a neighbour may ask for, at once and per second. */
export const WANTS = { burst: 2 * MAX_STREAMS, perSecond: 200 } as const;
/** What a forgery, or a useless frame beyond that, counts; at `CUT_SCORE` a neighbour is not heard. A point is forgiven every second. */
export const FORGERY_SCORE = 40;
export const EXCESS_SCORE = 5;
export const CUT_SCORE = 100;
/** For how long. */
export const CUT_MS = 60_000;

/** How often a gateway looks at what is due. */
export const TICK_MS = 100;
/** Streams that are not sent to a neighbour are told to it this much later, several at once. */
export const TELL_MS = 300;
/** With more neighbours than this it takes that much longer: each of them hears it from many. */
export const TOLD_BY = 8;
/** How long what a neighbour says it has may take to come from elsewhere before that neighbour is asked. */
export const GRAFT_MS = 600;
/** How long one that was asked has to send something. */
export const WANT_TIMEOUT_MS = 3_000;
/** How long a hole may last before what lies in it is given up for lost: others may have it. */
export const GAP_MS = 1_500;
/** How often each neighbour is told of everything. */
export const SYNC_MS = 30_000;
/** How often what is too old is looked for. */
export const SWEEP_MS = 1_000;
/** How long a stream that was refused for a passing reason (a clock ahead, a member suspended) is not asked for. */
export const REFUSED_MS = 10_000;
