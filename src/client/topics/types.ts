import type { FedgateError } from '../../errors.js';
import { ReceivedRecord } from '../../wire/record-codec.js';
import type { TopicFrame } from '../../wire/topic-delivery.js';

/** How far a reader has the records of one author. To be kept, as JSON for example, and given back in `after`. */
export interface TopicPlace {
  readonly org: string;
  readonly gateway: string;
  /** The author's epoch, in decimal. */
  readonly epoch: string;
  /** The number of the last record; 0: none yet. */
  readonly sequence: number;
}

/** What was published. */
export interface TopicReceipt {
  /** Where the record is. */
  readonly place: TopicPlace;
  /** Gateways with which the topic is shared and that were linked. 0: it spreads once there is a link. */
  readonly links: number;
}

export interface TopicPublishOptions {
  /** How long the record is of use, milliseconds. @default as long as the gateway keeps the topic */
  readonly ttlMs?: number | undefined;
}

/** Records that did not come and will not. */
export interface TopicLoss {
  /** The last of them. */
  readonly place: TopicPlace;
  readonly records: number;
  /** `retention`: nobody holds them any more, or this reader was too slow. `expired`: their time to live was over. */
  readonly why: 'retention' | 'expired';
}

export interface TopicSubscribeOptions {
  /** Where to begin with authors that `after` does not name. @default 'new' */
  readonly from?: 'new' | 'earliest' | undefined;
  /** The places of an earlier subscription: it goes on behind them. */
  readonly after?: readonly TopicPlace[] | undefined;
  /** Ends the subscription; the iteration then ends without an error. */
  readonly signal?: AbortSignal | undefined;
  /** Hears of records that are lost to this subscription. */
  readonly onLoss?: ((loss: TopicLoss) => void) | undefined;
  /** Hears that nothing is taken of an author any more, and why. */
  readonly onMuted?:
    | ((author: { readonly org: string; readonly gateway: string; readonly error: FedgateError }) => void)
    | undefined;
}

/** A record of a topic, with who published it. */
export class TopicMessage extends ReceivedRecord {
  readonly topic: string;
  /** The organisation of the author, as its signature proves. */
  readonly senderOrg: string;
  /** The node that published, as its gateway verified it. */
  readonly senderNode: string;
  readonly place: TopicPlace;
  /** When its gateway signed it. */
  readonly signedTime: Date;

  constructor(topic: string, frame: TopicFrame, start: number, end: number, sequence: number) {
    super(frame.bytes, start, end);
    this.topic = topic;
    this.senderOrg = frame.org;
    this.senderNode = frame.node;
    this.place = { org: frame.org, gateway: frame.gateway, epoch: String(frame.epoch), sequence };
    this.signedTime = new Date(frame.timeMs);
  }
}
