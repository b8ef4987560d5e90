import { type Environment, environmentLine } from '../environment.js';
import { atMost, type Goal, goalRow } from '../goals.js';
import { type Bound, rateRows, ratios } from '../rates.js';
import type { Measurement, Skipped } from '../system.js';
import { formatTable } from '../table.js';
import type { SystemName } from './options.js';

/** Everything one run found out. */
export interface LiveReport {
  readonly environment: Environment;
  readonly seconds: number;
  readonly rates: readonly Measurement<SystemName>[];
  readonly skipped: readonly Skipped<SystemName>[];
  readonly latency?: Latency;
  readonly memory?: Memory;
}

export interface Latency {
  /** Medians, milliseconds, of 128-byte payloads. */
  readonly unaryMs: number;
  readonly endToEndMs?: number;
}

export interface Memory {
  readonly publishedMb: number;
  /** Records that were dropped for the subscriber, and said to be. */
  readonly dropped: number;
  /** Resident set of the subscriber's gateway before, and the highest seen while the subscriber stalled, MB. */
  readonly beforeMb: number;
  readonly peakMb: number;
  /** Resident set of the publisher's gateway afterwards, MB. */
  readonly gatewayAMb: number;
}

const BOUNDS: readonly Bound<SystemName>[] = [
  ['relay', 'bare relay', 0.8],
  ['typed-relay', 'typed relay', undefined],
  ['nats', 'NATS core', 1],
];

/** How far the resident set may rise, MB: queues of a few MiB and what the garbage collector leaves lying. */
const FLAT_MB = 64;

export function goals({ rates, latency, memory }: LiveReport): Goal[] {
  const found = ratios(rates, 'fedgate', BOUNDS);
  if (latency?.endToEndMs)
    found.push(atMost('one message end to end / bare unary', latency.endToEndMs / latency.unaryMs, 3));
  if (memory) {
    const what = `gateway of a stalled subscriber, MB more after ${memory.publishedMb} MB`;
    found.push(atMost(what, memory.peakMb - memory.beforeMb, FLAT_MB));
  }
  return found;
}

export function formatReport(report: LiveReport): string {
  const { environment: at, seconds, rates, latency, memory, skipped } = report;
  const parts = [
    environmentLine(at, seconds),
    formatTable(rateRows(rates)),
    ...skipped.map(({ system, why }) => `${system}: not measured: ${why}`),
  ];
  if (latency) parts.push(formatTable(latencyRows(latency)));
  if (memory)
    parts.push(
      `memory of the gateway of a stalled subscriber: ${memory.beforeMb} MB before, at most ${memory.peakMb} MB`,
    );
  const judged = goals(report).map(goalRow);
  if (judged.length > 0) parts.push(formatTable(judged));
  return parts.join('\n\n');
}

function latencyRows({ unaryMs, endToEndMs }: Latency): string[][] {
  const rows = [['bare unary round trip, median', `${unaryMs.toFixed(3)} ms`]];
  if (endToEndMs !== undefined)
    rows.push(['one message, publish in A to received in B, median', `${endToEndMs.toFixed(3)} ms`]);
  return rows;
}
