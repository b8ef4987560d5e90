import { type Environment, environmentLine } from '../environment.js';
import { atLeast, atMost, type Goal, goalRow } from '../goals.js';
import type { Skipped } from '../system.js';
import { formatTable } from '../table.js';
import type { SystemName } from './options.js';
import { MIB, mibPerSecond, type Transfer } from './transfer.js';

/** Everything one run found out. */
export interface FilesReport {
  readonly environment: Environment;
  /** The same file through each system. */
  readonly transfers: readonly Transfer[];
  readonly skipped: readonly Skipped<SystemName>[];
  /** Over a line with a long round trip. */
  readonly far?: readonly Transfer[];
  readonly many?: Transfer;
  readonly sparse?: Transfer;
}

const RELAY_SHARE = 0.8;
const NATS_TIMES = 2;
const FAR_MB_PER_SECOND = 80;
const GATEWAY_MB = 200;

export function goals(report: FilesReport): Goal[] {
  const { transfers, far = [], many, sparse } = report;
  const named = (name: SystemName): Transfer | undefined => transfers.find(each => each.name === name);
  const [ours, relay, nats, native] = [named('fedgate'), named('relay'), named('nats'), named('nats-native')];
  const memory = [ours, many, sparse].filter(each => each !== undefined);
  return [
    ...(ours && relay ? [atLeast('fedgate / bare relay', relay.seconds / ours.seconds, RELAY_SHARE)] : []),
    ...(ours && nats ? natsGoals(ours, nats) : []),
    ...(ours && native ? [{ what: 'fedgate / NATS with a native hash', value: native.seconds / ours.seconds }] : []),
    ...far.map(each => atLeast(`${each.name}: fetch, MB/s`, each.bytes / 1e6 / fetchSeconds(each), FAR_MB_PER_SECOND)),
    ...memory.map(({ name, peaksMb }) => atMost(`${name}: gateway, MB at most`, Math.max(...peaksMb), GATEWAY_MB)),
  ];
}

const natsGoals = (ours: Transfer, nats: Transfer): Goal[] => [
  atLeast('fedgate / NATS object store', nats.seconds / ours.seconds, NATS_TIMES),
  { what: 'share / put', value: (nats.inSeconds ?? 0) / (ours.inSeconds ?? 0) },
  { what: 'fetch / get', value: fetchSeconds(nats) / fetchSeconds(ours) },
];

const fetchSeconds = ({ outSeconds, seconds }: Transfer): number => outSeconds ?? seconds;

export function formatReport(report: FilesReport): string {
  const { far = [], many, sparse, skipped } = report;
  const judged = goals(report).map(goalRow);
  const transfers = [...report.transfers, ...far, ...(many ? [many] : []), ...(sparse ? [sparse] : [])];
  return [
    environmentLine(report.environment),
    formatTable(transferRows(transfers)),
    ...skipped.map(({ system, why }) => `${system}: not measured: ${why}`),
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
