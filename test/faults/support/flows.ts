import type { Level } from './events.js';

/** What a node process is told to do: passed to it as JSON. */
export interface NodeOrders {
  readonly org: string;
  readonly publishers: readonly PublisherFlow[];
  readonly consumers: readonly ConsumerFlow[];
}

/** Messages from one node to one channel. */
export interface PublisherFlow {
  /** The node's name, and its context file. */
  readonly name: string;
  readonly context: string;
  readonly to: string;
  readonly channel: string;
  readonly level: Level;
  /** The number of the first message. */
  readonly from: number;
  /** The number of the last. Undefined: until told to stop. */
  readonly last?: number | undefined;
  readonly perSecond: number;
  /** How many may be without an answer. With more than one, a message that is refused and published again comes behind others. */
  readonly window: number;
  /**
   * How a repeated publish is recognised: by an id of the message, or only while the connection's own producer repeats it. Then a
   * message that is published again by us is another one.
   */
  readonly idempotency: 'id' | 'producer';
  readonly paddingBytes?: number | undefined;
  /** How many record keys are used in turn. 0: none. */
  readonly keys?: number | undefined;
}

/** One consumer of a durable subscription. */
export interface ConsumerFlow {
  readonly name: string;
  readonly context: string;
  readonly subscription: string;
  readonly pattern: string;
  readonly group: boolean;
  /** How long each message takes. */
  readonly workMs?: number | undefined;
  /** How long a message may be unacknowledged. Undefined: what the gateway takes. */
  readonly ackWaitMs?: number | undefined;
  /** Dies by its own hand once it has sent so many acknowledgements, before any of the last turn can be settled. */
  readonly dieAfterAcks?: number | undefined;
}

/** What a node process says besides recorded events. */
export type NodeNews =
  | { readonly news: 'ready' }
  | { readonly news: 'finished' }
  | { readonly news: 'failed'; readonly why: string };

/** What it is told: begin to publish; publish nothing new and say when all is answered. */
export type NodeCommand = 'go' | 'finish';
