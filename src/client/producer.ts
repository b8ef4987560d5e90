import { randomBytes } from 'node:crypto';
import { fieldError } from '../errors.js';
import type { Producer } from './outgoing-frame.js';

export interface ProducerOptions {
  /** A name of this program among those of its node: 1 to 56 printable ASCII characters without spaces. */
  readonly id: string;
  /**
   * Must be higher each time the program starts; a program with a lower one is refused from then on with PRODUCER_FENCED.
   * Who uses the same epoch again says that the same records are published again, one after the other, in the same order: those that were
   * stored are answered as duplicates. @default the time, in milliseconds
   */
  readonly epoch?: number | undefined;
}

export interface ChosenProducer {
  readonly producer: Producer;
  /** Whether the epoch was chosen by the program, which then knows what a duplicate is. */
  readonly ownEpoch: boolean;
}

/** 64 bytes of the contract, less what an own name for the own organisation adds. */
const ID = /^[\x21-\x7e]{1,56}$/;

/** Throws FIELD_INVALID. */
export function chooseProducer(options: ProducerOptions | undefined): ChosenProducer {
  const { id, epoch } = options ?? { id: randomBytes(16).toString('hex') };
  if (!ID.test(id)) throw fieldError('producer.id', 'must be 1 to 56 printable ASCII characters without spaces');
  if (epoch === undefined) return { producer: { id, epoch: Date.now() }, ownEpoch: false };
  if (!Number.isSafeInteger(epoch) || epoch < 0) throw fieldError('producer.epoch', 'must be a whole number from 0');
  return { producer: { id, epoch }, ownEpoch: true };
}
