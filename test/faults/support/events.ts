/**
 * What is written down while faults are injected, on both sides and by whoever injects.
 *
 * A recording is append-only. Its times are those of the machine's monotonic clock, which all processes share, so that what several
 * processes wrote can be put in order whatever the faults do to the clocks that the programs see.
 */

export type Level = 'stored' | 'received' | 'consumed';

interface At {
  /** Monotonic clock of the machine, milliseconds. */
  readonly atMs: number;
}

interface Consumed {
  readonly consumer: string;
  readonly subscription: string;
  readonly offset: number;
}

/** A message is about to be published, for the first time or again. */
export interface PublishEvent extends At {
  readonly kind: 'publish';
  readonly id: string;
  readonly org: string;
  readonly publisher: string;
  /** The organisation that it is for, and the channel there. */
  readonly to: string;
  readonly channel: string;
  readonly n: number;
  readonly level: Level;
  /** Whether the call can be repeated without making a second message. */
  readonly idempotent: boolean;
}

/** The publish was answered: the level asked for is reached. */
export interface AckedEvent extends At {
  readonly kind: 'acked';
  readonly id: string;
  readonly level: Level;
  readonly duplicate: boolean;
}

/** The publish was refused: this attempt stored nothing. */
export interface RefusedEvent extends At {
  readonly kind: 'refused';
  readonly id: string;
  readonly reason: string;
}

/** Nobody can say whether this attempt stored the message. */
export interface UnknownEvent extends At {
  readonly kind: 'unknown';
  readonly id: string;
  readonly reason: string;
}

/** A consumer was handed a message. */
export interface DeliveredEvent extends At, Consumed {
  readonly kind: 'delivered';
  /** What the payload says it is; empty when it cannot be read. */
  readonly id: string;
  /** Whether the payload is what its hash says. */
  readonly intact: boolean;
  readonly senderOrg: string;
  readonly senderNode: string;
  readonly channel: string;
  readonly key: string;
  readonly deliveryCount: number;
}

/** A consumer is about to acknowledge; then it is told that this counts, or learns that it may not. */
export interface AckEvent extends At, Consumed {
  readonly kind: 'ackSent' | 'ackSettled' | 'ackUnknown';
  readonly id: string;
}

/** A consumer was told that records are missing. */
export interface MissingEvent extends At {
  readonly kind: 'missing';
  readonly consumer: string;
  readonly subscription: string;
  readonly what: string;
  /** Empty: not known. */
  readonly channel: string;
  readonly senderOrg: string;
  /** 0: not known. */
  readonly records: number;
}

/** Something was broken, or all is whole again. */
export interface FaultEvent extends At {
  readonly kind: 'fault' | 'healed';
  readonly what: string;
  /** The organisation whose gateway died, or could not store anything. */
  readonly died?: string | undefined;
}

/** What a process and its folder take up. */
export interface ResourcesEvent extends At {
  readonly kind: 'resources';
  readonly process: string;
  readonly peakResidentBytes: number;
  readonly diskBytes: number;
}

export type RecordedEvent =
  | PublishEvent
  | AckedEvent
  | RefusedEvent
  | UnknownEvent
  | DeliveredEvent
  | AckEvent
  | MissingEvent
  | FaultEvent
  | ResourcesEvent;

/** The same in every process of the machine. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;
