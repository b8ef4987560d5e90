import { type Environment, environmentLine } from '../environment.js';
import { atLeast, atMost, type Goal, goalRow } from '../goals.js';
import type { Skipped } from '../system.js';
import { formatTable } from '../table.js';
import type { SystemName } from './options.js';
import { MIB, mibPerSecond, type Transfer } from './transfer.js';

/** Everything one run found out. */
export interface FilesReport {
  readonly environment: Environment;
  readonly transfers: readonly Transfer[];
  readonly skipped: readonly Skipped<SystemName>[];
}

const RELAY_SHARE = 0.8;
const NATS_TIMES = 2;
const GATEWAY_MB = 200;

export function goals({ transfers }: FilesReport): Goal[] {
  const named = (name: SystemName): Transfer | undefined => transfers.find(each => each.name === name);
  const [ours, relay, nats] = [named('fedgate'), named('relay'), named('nats')];
  if (!ours) return [];
  return [
    ...(relay ? [atLeast('fedgate / bare relay', relay.seconds / ours.seconds, RELAY_SHARE)] : []),
    ...(nats ? [atLeast('fedgate / NATS object store', nats.seconds / ours.seconds, NATS_TIMES)] : []),
    atMost('gateway, MB at most', Math.max(...ours.peaksMb), GATEWAY_MB),
  ];
}

export function formatReport(report: FilesReport): string {
  const judged = goals(report).map(goalRow);
  return [
    environmentLine(report.environment),
    formatTable(transferRows(report.transfers)),
    ...report.skipped.map(({ system, why }) => `${system}: not measured: ${why}`),
    ...(judged.length > 0 ? [formatTable(judged)] : []),
  ].join('\n\n');
}

const transferRows = (transfers: readonly Transfer[]): string[][] => [
  ['MiB/s', 'MiB', 'whole', 'in', 'out', 'CPU s: sender', 'A', 'B', 'receiver', 'others', 'MB at most: A', 'B'],
  ...transfers.map(({ name, bytes, seconds, inSeconds, outSeconds, cpus, otherCpus, peaksMb }) => [
    name,
    (bytes / MIB).toFixed(0),
    rate(bytes, seconds),
    rate(bytes, inSeconds),
    rate(bytes, outSeconds),
    ...cpus.map(each => each.toFixed(2)),
    otherCpus.toFixed(2),
    ...peaksMb.map(String),
  ]),
];

const rate = (bytes: number, seconds: number | undefined): string => mibPerSecond(bytes, seconds)?.toFixed(0) ?? '';
