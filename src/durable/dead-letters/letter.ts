import { DeadLetterRow } from '../../../gen/ts/fedgate/store/v1/dead_letter.js';
import type { OrgName } from '../../identity/names.js';
import { numberAt } from '../../store/keys.js';
import type { BodyRef, Row } from '../../store/store.js';
import type { Redriven } from '../subscriptions/parts.js';

export const DEAD_LETTER = 'dead-letter';
/** The log of the store that holds the records. */
export const DEAD_LOG = 'dead';

export type Direction = 'incoming' | 'outgoing';

/** Records that were given up. */
export interface Letter {
  readonly id: number;
  readonly direction: Direction;
  readonly org: OrgName;
  readonly channel: string;
  readonly senderNode: string;
  readonly subscription: string;
  readonly reason: string;
  readonly deliveries: number;
  readonly timeMs: number;
  readonly records: number;
  readonly bytes: number;
  readonly body: BodyRef | undefined;
  readonly sha256: Buffer;
  readonly offset: number;
  readonly storedMs: number;
  readonly streamEpoch: bigint;
  readonly sequence: number;
  readonly record: number;
  readonly redriven: boolean;
  readonly expireMs: number;
}

export function encodeLetter(letter: Omit<Letter, 'id'>): Buffer {
  return Buffer.from(
    DeadLetterRow.encode({
      ...letter,
      outgoing: letter.direction === 'outgoing',
      timeMs: BigInt(letter.timeMs),
      bytes: BigInt(letter.bytes),
      offset: BigInt(letter.offset),
      storedMs: BigInt(letter.storedMs),
      sequence: BigInt(letter.sequence),
      expireMs: BigInt(letter.expireMs),
    }).finish(),
  );
}

export function decodeLetter({ key, value }: Row): Letter {
  const { outgoing, ...row } = DeadLetterRow.decode(value);
  return {
    ...row,
    id: numberAt(key, 0),
    direction: outgoing ? 'outgoing' : 'incoming',
    org: row.org as OrgName,
    timeMs: Number(row.timeMs),
    bytes: Number(row.bytes),
    sha256: Buffer.from(row.sha256),
    offset: Number(row.offset),
    storedMs: Number(row.storedMs),
    sequence: Number(row.sequence),
    expireMs: Number(row.expireMs),
  };
}

/** The record as its subscription had it from the log. */
export const asRedriven = (letter: Letter): Redriven => ({
  id: letter.id,
  subscription: letter.subscription,
  entry: {
    offset: letter.offset,
    count: 1,
    channel: letter.channel,
    senderOrg: letter.org,
    senderNode: letter.senderNode,
    storedMs: letter.storedMs,
    expireMs: letter.expireMs,
    bytes: letter.bytes,
    gap: undefined,
    stream: undefined,
    notifyConsumed: false,
  },
});

/** Which letters: those of the ids, or all that match. Undefined and empty: whatever. */
export interface Selection {
  readonly ids: readonly number[];
  readonly direction: Direction | undefined;
  readonly subscription: string;
  readonly org: string;
}

export const selects = ({ direction, subscription, org }: Omit<Selection, 'ids'>, letter: Letter): boolean =>
  (direction === undefined || direction === letter.direction) &&
  (subscription === '' || subscription === letter.subscription) &&
  (org === '' || org === letter.org);
