import { StreamNotice } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { APPROVALS_CHANNEL, NOTICES_CHANNEL, REQUESTS_CHANNEL } from '../durable/control.js';
import type { Outbox } from '../durable/types.js';
import type { OrgName } from '../identity/names.js';
import type { Change } from '../store/store.js';
import { malformed } from '../wire/reader.js';

/**
 * Hears the records of a batch on a reserved channel: puts what they say into the change that stores that the batch came, and returns what
 * is to be done once that is committed. What it throws is what the batch is refused with.
 */
export type ControlReceiver = (payloads: readonly Buffer[], change: Change) => () => void;

/** What a gateway does with what others say about proposals. */
export interface ApprovalsPort {
  /** Throws FRAME_MALFORMED, LIMIT_REACHED: the batch is refused, and counts as received. */
  receive(from: OrgName, payloads: readonly Buffer[], change: Change): () => void;
}

/** What a gateway does with what others say about stored requests. */
export interface StoredRequestsPort {
  /** Throws FRAME_MALFORMED: the batch is refused, and counts as received. */
  receive(from: OrgName, payloads: readonly Buffer[], change: Change): () => void;
}

/** Who hears which reserved channel of one peer. */
export function controlReceivers(
  outbox: Pick<Outbox, 'noticed'>,
  {
    approvals,
    stored,
  }: { readonly approvals?: ApprovalsPort | undefined; readonly stored?: StoredRequestsPort | undefined },
  from: OrgName,
): ReadonlyMap<string, ControlReceiver> {
  const receivers = new Map<string, ControlReceiver>([[NOTICES_CHANNEL, noticesFor(outbox)]]);
  if (approvals) {
    receivers.set(APPROVALS_CHANNEL, (payloads, change) => approvals.receive(from, payloads, change));
  }
  if (stored) receivers.set(REQUESTS_CHANNEL, (payloads, change) => stored.receive(from, payloads, change));
  return receivers;
}

/** Our outbox to the same organisation hears what became of its batches. */
const noticesFor =
  (outbox: Pick<Outbox, 'noticed'>): ControlReceiver =>
  (payloads, change) => {
    const told = payloads.map(decodeNotice).map(notice => outbox.noticed(notice, change));
    return () => {
      for (const tell of told) tell();
    };
  };

function decodeNotice(payload: Buffer): StreamNotice {
  try {
    return StreamNotice.decode(payload);
  } catch {
    throw malformed('a notice');
  }
}
