import { type Environment, environmentLine } from '../environment.js';
import { atLeast, atMost, type Goal, goalRow } from '../goals.js';
import type { Spread } from '../meter.js';
import { type Bound, rateRows, ratios } from '../rates.js';
import type { Measurement, Skipped } from '../system.js';
import { formatTable, grouped } from '../table.js';
import type { Backlog } from './backlog.js';
import type { Memory } from './memory.js';
import type { SystemName } from './options.js';

/** Everything one run found out. */
export interface DurableReport {
  readonly environment: Environment;
  readonly seconds: number;
  readonly rates: readonly Measurement<SystemName>[];
  readonly skipped: readonly Skipped<SystemName>[];
  readonly latency?: Latency;
  readonly backlog?: Backlog;
  readonly memory?: Memory;
}

export interface Latency {
  /** A unary call between two processes. */
  readonly unary: Spread;
  /** An append of 1 KiB with its fdatasync. */
  readonly sync: Spread;
  /** One publish until the other organisation has it on stable storage. */
  readonly received?: Spread;
}

const BOUNDS: readonly Bound<SystemName>[] = [
  ['relay', 'bare durable relay', 0.7],
  ['jetstream', 'JetStream', 10],
  ['raw-jetstream', 'raw JetStream', undefined],
];
const RECEIVED_MS = 5;
const LIVE_P99_TIMES = 2;
const DRAIN_TIMES = 5;
const GATEWAY_MB = 300;
const START_MS = 3_000;

export function goals({ rates, latency, backlog, memory }: DurableReport): Goal[] {
  return [
    ...ratios(rates, 'fedgate', BOUNDS),
    ...(latency?.received ? [atMost('one publish to received, p50, ms', latency.received.p50, RECEIVED_MS)] : []),
    ...(backlog ? backlogGoals(backlog) : []),
    ...(memory ? [atMost('gateway, MB at most', Math.max(...memory.peaksMb), GATEWAY_MB)] : []),
  ];
}

const backlogGoals = (backlog: Backlog): Goal[] => [
  atMost('live p99, while a backlog drains / alone', backlog.during.p99 / backlog.alone.p99, LIVE_P99_TIMES),
  atLeast('drained / live, messages per second', backlog.drainedPerSecond / backlog.livePerSecond, DRAIN_TIMES),
  atMost('gateway with a backlog, MB at most', Math.max(...backlog.peaksMb), GATEWAY_MB),
  atMost('start with a full outbox, ms', backlog.outboxStartMs, START_MS),
  atMost('start with a full log, ms', backlog.logStartMs, START_MS),
];

export function formatReport(report: DurableReport): string {
  const { environment: at, seconds, rates, skipped, latency, backlog, memory } = report;
  const judged = goals(report).map(goalRow);
  const parts = [
    environmentLine(at, seconds),
    ...(rates.length > 0 ? [formatTable(rateRows(rates))] : []),
    ...skipped.map(({ system, why }) => `${system}: not measured: ${why}`),
    ...(latency ? [formatTable(latencyRows(latency))] : []),
    ...(backlog ? [formatTable(backlogRows(backlog))] : []),
    ...(memory ? [formatTable(memoryRows(memory))] : []),
    ...(judged.length > 0 ? [formatTable(judged)] : []),
  ];
  return parts.join('\n\n');
}

const spreadRow = (what: string, { p50, p99 }: Spread): string[] => [what, p50.toFixed(3), p99.toFixed(3)];

const latencyRows = ({ unary, sync, received }: Latency): string[][] => [
  ['one at a time, ms', 'p50', 'p99'],
  spreadRow('bare unary call', unary),
  spreadRow('fdatasync of 1 KiB', sync),
  ...(received ? [spreadRow('publish to received', received)] : []),
];

const backlogRows = (backlog: Backlog): string[][] => [
  [`a backlog of ${grouped(backlog.records)} records`, ''],
  ['stored, records/s', grouped(backlog.storedPerSecond)],
  ['drained and acknowledged, records/s', grouped(backlog.drainedPerSecond)],
  ['live messages/s meanwhile', grouped(backlog.livePerSecond)],
  ['live alone, ms: p50, p99', spreadText(backlog.alone)],
  ['live during the drain, ms: p50, p99', spreadText(backlog.during)],
  ['start with it in the outbox, ms', grouped(backlog.outboxStartMs)],
  ['start with it in the log, ms', grouped(backlog.logStartMs)],
  ['gateways at most, MB', backlog.peaksMb.join(', ')],
];

const spreadText = ({ p50, p99 }: Spread): string => `${p50.toFixed(2)}, ${p99.toFixed(2)}`;

const memoryRows = (memory: Memory): string[][] => [
  [`gateways, MB, ${grouped(memory.throughMb)} MB going through`, 'A', 'B'],
  ['before', ...memory.beforeMb.map(String)],
  ['at most', ...memory.peaksMb.map(String)],
  ['after', ...memory.afterMb.map(String)],
];
