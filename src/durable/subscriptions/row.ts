import { SubscriptionRow } from '../../../gen/ts/fedgate/store/v1/subscription.js';
import { type Pattern, parsePattern } from '../../messaging/address.js';
import type { CursorState } from './position.js';
import type { Range } from './ranges.js';

export const SUBSCRIPTION = 'subscription';

/** What a subscription is. */
export interface Definition {
  readonly name: string;
  readonly pattern: Pattern;
  readonly group: boolean;
  readonly createMs: number;
  readonly ackWaitMs: number;
  readonly maxDeliveries: number;
}

export function encodeRow(definition: Definition, state: CursorState, acknowledged: number): Buffer {
  const settled: bigint[] = [];
  let end = state.floor;
  for (const { first, last } of state.settled) {
    settled.push(BigInt(first - end), BigInt(last + 1 - first));
    end = last + 1;
  }
  return Buffer.from(
    SubscriptionRow.encode({
      pattern: definition.pattern.text,
      group: definition.group,
      ackWaitMs: definition.ackWaitMs,
      maxDeliveries: definition.maxDeliveries,
      createMs: BigInt(definition.createMs),
      floor: BigInt(state.floor),
      deliveredTo: BigInt(state.deliveredTo),
      settled,
      deliveries: state.deliveries.map(({ first, last, count }) => ({
        first: BigInt(first),
        last: BigInt(last),
        count,
      })),
      spoiled: state.spoiled.map(BigInt),
      acknowledged: BigInt(acknowledged),
    }).finish(),
  );
}

export interface DecodedRow {
  readonly definition: Definition;
  readonly state: CursorState;
  readonly acknowledged: number;
}

export function decodeRow(name: string, value: Uint8Array): DecodedRow {
  const row = SubscriptionRow.decode(value);
  const { group, ackWaitMs, maxDeliveries } = row;
  const floor = Number(row.floor);
  return {
    definition: {
      name,
      pattern: parsePattern(row.pattern),
      group,
      createMs: Number(row.createMs),
      ackWaitMs,
      maxDeliveries,
    },
    state: {
      floor,
      deliveredTo: Number(row.deliveredTo),
      settled: rangesOf(floor, row.settled),
      deliveries: row.deliveries.map(({ first, last, count }) => ({ first: Number(first), last: Number(last), count })),
      spoiled: row.spoiled.map(Number),
    },
    acknowledged: Number(row.acknowledged),
  };
}

function rangesOf(floor: number, pairs: readonly bigint[]): readonly Range[] {
  const ranges: Range[] = [];
  let end = floor;
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const first = end + Number(pairs[i]);
    end = first + Number(pairs[i + 1]);
    ranges.push({ first, last: end - 1 });
  }
  return ranges;
}
