import { type Command, Option } from 'commander';
import type { AckLevel } from '../../../client/index.js';
import { fieldError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';

export interface DeliveryOptions {
  readonly live?: boolean;
  readonly ack?: AckLevel;
  readonly ackTimeout?: string;
  readonly ttl?: string;
  readonly dedupe?: boolean;
  readonly id?: string;
  readonly lines?: boolean;
}

/** How records are to be delivered. */
export interface DeliveryWish {
  /** Undefined: as usual there, which is durable to other organisations. */
  readonly delivery: 'live' | 'durable' | undefined;
  readonly ack: AckLevel;
  readonly ackTimeoutMs: number;
  readonly ttlMs: number;
  /** Publish only once under the record's id. */
  readonly dedupe: boolean;
  /** Nobody asked for this level: when it is not reached in time, the records are safe all the same. */
  readonly ackIsDefault: boolean;
}

export const withDeliveryOptions = (command: Command): Command =>
  command
    .option('--live', 'store nothing: hand the record to who is subscribed at this moment')
    .addOption(
      new Option(
        '--ack <level>',
        'what must have happened before the answer: it is on stable storage here, on stable storage there, or acknowledged by a durable subscription there (default: received, without failing when it takes longer)',
      ).choices(['stored', 'received', 'consumed']),
    )
    .option('--ack-timeout <duration>', 'how long to wait for that (default: 5s; with --lines 30s for each part)')
    .option('--ttl <duration>', 'how long the record is of use: it is dropped, with a notice, when it arrives later')
    .option('--dedupe', 'publish only once under this --id: a repetition within 7 days is recognised and not stored');

const DURABLE_ONLY = ['ack', 'ttl', 'dedupe'] as const;

/** Throws FIELD_INVALID naming the option. */
export function parseDelivery(options: DeliveryOptions): DeliveryWish {
  const durable = DURABLE_ONLY.find(name => options[name] !== undefined);
  if (options.live && durable) throw fieldError(`--${durable}`, 'not with --live, which stores nothing');
  if (options.dedupe && options.lines) throw fieldError('--dedupe', 'not with --lines, whose records have no ids');
  if (options.dedupe && options.id === undefined) throw fieldError('--dedupe', 'needs --id');
  return {
    delivery: options.live ? 'live' : durable ? 'durable' : undefined,
    ack: options.ack ?? 'received',
    ackTimeoutMs: parseDuration(options.ackTimeout ?? (options.lines ? '30s' : '5s'), '--ack-timeout'),
    ttlMs: options.ttl === undefined ? 0 : parseDuration(options.ttl, '--ttl'),
    dedupe: options.dedupe === true,
    ackIsDefault: options.ack === undefined,
  };
}
