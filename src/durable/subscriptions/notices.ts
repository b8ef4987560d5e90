import { ConsumeResponse } from '../../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { Held } from './held.js';
import { lengthOf, type Range } from './ranges.js';

type NoticeEvent = NonNullable<NonNullable<ConsumeResponse['notice']>['event']>;

const EMPTY = ConsumeResponse.fromPartial({});

const frame = (event: NoticeEvent): Buffer =>
  Buffer.from(ConsumeResponse.encode({ ...EMPTY, notice: { event } }).finish());

const wireRange = ({ first, last }: Range): { first: bigint; last: bigint } => ({
  first: BigInt(first),
  last: BigInt(last),
});

export const openedFrame = (gateway: string, offset: number, created: boolean): Buffer =>
  frame({ $case: 'opened', value: { gateway, offset: BigInt(offset), created } });

export const settledFrame = (ackId: bigint): Buffer => frame({ $case: 'settled', value: { ackId } });

/** Says why records of an entry do not come. */
export function missingFrame({ entry, lost }: Held, range: Range, expired: boolean): Buffer {
  const { channel, senderOrg, gap } = entry;
  const facts = { range: wireRange(range), channel, senderOrg, records: BigInt(lengthOf(range)) };
  if (expired) return frame({ $case: 'expired', value: facts });
  // How many batches were skipped after a restore is not known: such a gap has no channel.
  const records = channel === '' ? 0n : facts.records;
  return frame({ $case: 'gap', value: { ...facts, records, reason: gap?.reason ?? lost ?? '' } });
}

export const deadLetteredFrame = (range: Range, channel: string, reason: string): Buffer =>
  frame({ $case: 'deadLettered', value: { range: wireRange(range), channel, reason } });
