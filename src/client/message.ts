import type { Origin } from '../wire/messaging-frames.js';
import { ReceivedRecord } from '../wire/record-codec.js';

/** A record with where it came from. */
export class Message extends ReceivedRecord {
  readonly channel: string;
  /** The organisation of the publisher, as verified by the own gateway. */
  readonly senderOrg: string;
  /** The node that published, as verified by its organisation's gateway. */
  readonly senderNode: string;

  constructor(bytes: Buffer, start: number, end: number, { channel, senderOrg, senderNode }: Origin) {
    super(bytes, start, end);
    this.channel = channel;
    this.senderOrg = senderOrg;
    this.senderNode = senderNode;
  }
}
