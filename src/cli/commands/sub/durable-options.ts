import type { Command } from 'commander';
import type { DurableSubscribeOptions } from '../../../client/index.js';
import { fieldError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import { parseCount } from '../../options.js';
import { POSITION_HELP, parsePosition } from '../../position.js';

/** The options that make a subscription durable. */
export interface DurableFlags {
  readonly durable?: string;
  readonly from?: string;
  readonly group?: boolean;
  readonly ackWait?: string;
  readonly maxDeliveries?: string;
}

export const withDurableOptions = (command: Command): Command =>
  command
    .option('--durable <name>', 'a durable subscription, made when there is none: its position is kept by the gateway')
    .option('--from <position>', `where a new durable subscription begins (default: latest): ${POSITION_HELP}`)
    .option('--group', 'a new durable subscription is for several nodes: each record goes to one of them')
    .option('--ack-wait <duration>', 'how long a record may be unacknowledged before it comes again (default: 30s)')
    .option('--max-deliveries <n>', 'after how many deliveries a record becomes a dead letter (default: 10)');

const NEEDS_DURABLE = { from: '--from', group: '--group', ackWait: '--ack-wait', maxDeliveries: '--max-deliveries' };

/** Undefined: a live one is wanted. Throws FIELD_INVALID naming the option. */
export function parseDurable(flags: DurableFlags, nowMs: number): DurableSubscribeOptions | undefined {
  const { durable: name, from, group, ackWait, maxDeliveries } = flags;
  if (name === undefined) {
    const stray = Object.entries(NEEDS_DURABLE).find(([flag]) => flags[flag as keyof DurableFlags] !== undefined);
    if (stray) throw fieldError(stray[1], 'only with --durable');
    return undefined;
  }
  return {
    durable: name,
    from: from === undefined ? undefined : parsePosition(from, '--from', nowMs),
    group,
    ackWaitMs: ackWait === undefined ? undefined : parseDuration(ackWait, '--ack-wait'),
    maxDeliveries: maxDeliveries === undefined ? undefined : parseCount(maxDeliveries, '--max-deliveries', 1),
  };
}
