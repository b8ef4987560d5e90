import type { FedgateClient } from '../../../client/index.js';
import { FedgateError, fieldError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import type { CliEnv } from '../../env.js';
import { parseCount } from '../../options.js';
import { parsePosition } from '../../position.js';
import type { Format } from './formats.js';

export interface DurableOptions {
  readonly durable?: string;
  readonly from?: string;
  readonly group?: boolean;
  readonly ackWait?: string;
  readonly maxDeliveries?: string;
  readonly json?: boolean;
}

export function parseDurable(options: DurableOptions, nowMs: number) {
  const { durable: name, from, group, ackWait, maxDeliveries } = options;
  if (name === undefined) {
    const needs = Object.entries({
      '--from': from,
      '--group': group,
      '--ack-wait': ackWait,
      '--max-deliveries': maxDeliveries,
    });
    const [stray] = needs.find(([, value]) => value !== undefined) ?? [];
    if (stray !== undefined) throw fieldError(stray, 'only with --durable');
    return undefined;
  }
  return {
    name,
    from: from === undefined ? undefined : parsePosition(from, '--from', nowMs),
    group: group === true,
    ackWaitMs: ackWait === undefined ? undefined : parseDuration(ackWait, '--ack-wait'),
    maxDeliveries: maxDeliveries === undefined ? undefined : parseCount(maxDeliveries, '--max-deliveries', 1),
  };
}

export function printDurable(
  _env: CliEnv,
  _client: FedgateClient,
  _pattern: string,
  _durable: ReturnType<typeof parseDurable>,
  _printing: { readonly count: number; readonly signal: AbortSignal; readonly format: Format },
): Promise<number> {
  return Promise.reject(
    new FedgateError('FEATURE_UNSUPPORTED', '--durable needs a consumer, which the SDK does not have yet'),
  );
}
