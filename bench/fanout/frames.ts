import { MessagingServiceService, PublishStreamRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { Record as MessageRecord } from '../../gen/ts/fedgate/messaging/v1/record.js';
import { bareMethod } from '../bare-grpc.js';

export const CHANNEL = 'bench/fanout';

/** The methods of a hub: fedgate's, and those of the bare one, which are called in the same way. */
export interface HubMethods {
  readonly publish: string;
  readonly subscribe: string;
}

export const FEDGATE: HubMethods = {
  publish: MessagingServiceService.publishStream.path,
  subscribe: MessagingServiceService.subscribe.path,
};

export const Bare = {
  publish: bareMethod('/bench.Hub/Publish', { requestStream: true, responseStream: true }),
  subscribe: bareMethod('/bench.Hub/Subscribe', { requestStream: false, responseStream: true }),
};

/** What one record takes in a frame, bytes: every frame is a header that is shorter than that, and records. */
export const recordBytes = (payloadBytes: number): number => recordField(payloadBytes).length;

const recordField = (payloadBytes: number): Uint8Array => {
  const payload = Buffer.alloc(payloadBytes, 'x');
  return PublishStreamRequest.encode({ ...EMPTY, records: [MessageRecord.fromPartial({ payload })] }).finish();
};

/** How long a publisher lets itself be slowed, so that nothing is dropped while rates are measured. */
const PATIENCE_MS = 5_000;

/** Makes frames of so many records, each with the next number. */
export function framesOf(payloadBytes: number, batch: number): (frameId: number) => Buffer {
  const records = Buffer.concat(Array.from({ length: batch }, () => recordField(payloadBytes)));
  return frameId => {
    const head = { ...EMPTY, frameId: BigInt(frameId), address: `pubsub://ACME/${CHANNEL}`, patienceMs: PATIENCE_MS };
    return Buffer.concat([PublishStreamRequest.encode({ ...head, delivery: 1 }).finish(), records]);
  };
}

const EMPTY = PublishStreamRequest.fromPartial({});
