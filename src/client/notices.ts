import type { ConsumeNotice, OffsetRange } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';

interface Place {
  /** The first and last offset. */
  readonly first: number;
  readonly last: number;
  /** The channel; empty: not known. */
  readonly channel: string;
}

/** Records are missing here, and will not come. */
export interface GapNotice extends Place {
  readonly kind: 'gap';
  readonly senderOrg: string;
  /** How many; undefined: not known. */
  readonly records: number | undefined;
  readonly reason: string;
}

/** Records were not delivered because their time to live was over. */
export interface ExpiredNotice extends Place {
  readonly kind: 'expired';
  readonly senderOrg: string;
  readonly records: number;
}

/** Records were given up: they are dead letters now. */
export interface DeadLetteredNotice extends Place {
  readonly kind: 'deadLettered';
  readonly reason: string;
}

/** Something that a consumer must know and that is not a record. */
export type DurableNotice = GapNotice | ExpiredNotice | DeadLetteredNotice;

/** What a program is told; undefined for what is between the SDK and the gateway, or of a later version. */
export function toNotice({ event }: ConsumeNotice): DurableNotice | undefined {
  switch (event?.$case) {
    case 'gap': {
      const { range, channel, senderOrg, records, reason } = event.value;
      return { kind: 'gap', ...bounds(range), channel, senderOrg, records: Number(records) || undefined, reason };
    }
    case 'expired': {
      const { range, channel, senderOrg, records } = event.value;
      return { kind: 'expired', ...bounds(range), channel, senderOrg, records: Number(records) };
    }
    case 'deadLettered': {
      const { range, channel, reason } = event.value;
      return { kind: 'deadLettered', ...bounds(range), channel, reason };
    }
    default:
      return undefined;
  }
}

const bounds = (range: OffsetRange | undefined): { first: number; last: number } => ({
  first: Number(range?.first ?? 0n),
  last: Number(range?.last ?? 0n),
});
