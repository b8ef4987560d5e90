/** Channels of batches that speak to the other gateway, not to its nodes: no name that a node may publish to begins with `$`. */

/** What became of batches: a StreamNotice per record. */
export const NOTICES_CHANNEL = '$notices';
/** Proposals and votes: a fedgate.approvals.v1.Exchange per record. */
export const APPROVALS_CHANNEL = '$approvals';

/** Stored requests and their answers: a StoredExchange per record. */
export const REQUESTS_CHANNEL = '$requests';

export type ControlChannel = typeof NOTICES_CHANNEL | typeof APPROVALS_CHANNEL | typeof REQUESTS_CHANNEL;

/** Bytes of one record on such a channel, at most. */
export const MAX_CONTROL_BYTES = 512 * 1024;

export const isControlChannel = (channel: string): channel is ControlChannel =>
  channel === NOTICES_CHANNEL || channel === APPROVALS_CHANNEL || channel === REQUESTS_CHANNEL;
