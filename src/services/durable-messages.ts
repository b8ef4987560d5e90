import {
  type DeadLetter,
  DeadLetter_Direction,
  type DurableSubscription,
  GetDeadLetterResponse,
} from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { Record } from '../../gen/ts/fedgate/messaging/v1/record.js';
import type { Direction, Letter, Selection } from '../durable/dead-letters/letter.js';
import type { SubscriptionStatus } from '../durable/subscriptions/subscriptions.js';
import { fieldError } from '../errors.js';
import { FieldReader } from '../wire/reader.js';
import type { RecordBlock } from '../wire/records.js';

/** What is stored, in the words of DurableService. */

export const toSubscription = (status: SubscriptionStatus, deadLetters: number): DurableSubscription => {
  const { name, pattern, group, ackWaitMs, maxDeliveries, createMs } = status.definition;
  return {
    spec: { name, pattern: pattern.text, from: undefined, group, ackWaitMs, maxDeliveries },
    offset: BigInt(status.offset),
    backlogRecords: BigInt(status.backlog),
    pendingRecords: BigInt(status.pending),
    acknowledgedRecords: BigInt(status.acknowledged),
    redeliveredRecords: BigInt(status.redelivered),
    deadLetters: BigInt(deadLetters),
    consumers: [...status.consumers],
    createTimeMs: BigInt(createMs),
    endOffset: BigInt(status.end),
  };
};

export const toLetter = (letter: Letter): DeadLetter => ({
  id: BigInt(letter.id),
  direction:
    letter.direction === 'outgoing' ? DeadLetter_Direction.DIRECTION_OUTGOING : DeadLetter_Direction.DIRECTION_INCOMING,
  org: letter.org,
  channel: letter.channel,
  senderNode: letter.senderNode,
  subscription: letter.subscription,
  reason: letter.reason,
  deliveries: letter.deliveries,
  timeMs: BigInt(letter.timeMs),
  records: letter.records,
  bytes: BigInt(letter.bytes),
  held: letter.body !== undefined,
});

/** Records that a publisher wrote wrongly are left out: nobody can decode them. */
export function joinedLetter(letter: Letter, block: RecordBlock | undefined): GetDeadLetterResponse {
  const deadLetter = { ...toLetter(letter), held: block !== undefined };
  const records: Record[] = [];
  if (block) {
    const reader = new FieldReader(block.bytes);
    while (reader.next()) {
      const record = decoded(reader.content());
      if (record) records.push(record);
    }
  }
  return GetDeadLetterResponse.fromPartial({ deadLetter, records });
}

function decoded(bytes: Buffer): Record | undefined {
  try {
    return Record.decode(bytes);
  } catch {
    return undefined;
  }
}

const DIRECTIONS: readonly (Direction | undefined)[] = [undefined, 'incoming', 'outgoing'];

/** Throws FIELD_INVALID. */
export function toSelection(
  selection: {
    readonly ids: readonly bigint[];
    readonly direction: DeadLetter_Direction;
    readonly subscription: string;
    readonly org: string;
  },
  field: string,
): Selection {
  const { ids, direction, subscription, org } = selection;
  if (direction < 0 || direction >= DIRECTIONS.length) throw fieldError(field, `${direction} is not known`);
  return { ids: ids.map(toId), direction: DIRECTIONS[direction], subscription, org };
}

/** There are no ids as high as what a number cannot hold. */
export const toId = (id: bigint): number => (id > MAX_ID ? Number(MAX_ID) : Number(id));
const MAX_ID = BigInt(Number.MAX_SAFE_INTEGER) - 1n;
