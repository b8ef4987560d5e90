import { cpus, loadavg, release } from 'node:os';
import { formatTable, grouped } from '../table.js';
import type { Measurement, SystemName } from './system.js';

export interface Environment {
  readonly node: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  /** Load average of the minute before the run. Much above 0: somebody else is measured too. */
  readonly load: number;
}

/** Everything one run found out. */
export interface LiveReport {
  readonly environment: Environment;
  readonly seconds: number;
  readonly rates: readonly Measurement[];
  readonly skipped: readonly { readonly system: SystemName; readonly why: string }[];
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

/** A ratio, and whether it is what the design promises. */
export interface Goal {
  readonly what: string;
  readonly value: number;
  /** Undefined: shown for comparison, nothing is promised. */
  readonly bound?: number;
  readonly met?: boolean;
}

export const environment = (): Environment => ({
  node: process.version,
  kernel: release(),
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  load: loadavg()[0] ?? 0,
});

/** The payload that the goals speak of. */
const JUDGED_PAYLOAD_BYTES = 128;

/** Which share of the rate of another system is aimed at. */
const BOUNDS = [
  ['relay', 'bare relay', 0.8],
  ['typed-relay', 'typed relay', undefined],
  ['nats', 'NATS core', 1],
] as const;

/** How far the resident set may rise, MB: queues of a few MiB and what the garbage collector leaves lying. */
const FLAT_MB = 64;

export function goals({ rates, latency, memory }: LiveReport): Goal[] {
  const rate = (system: SystemName, payloadBytes: number): number | undefined =>
    rates.find(each => each.system === system && each.payloadBytes === payloadBytes)?.messagesPerSecond;
  const found: Goal[] = [];
  const atLeast = (what: string, value: number, bound: number): void =>
    void found.push({ what, value, bound, met: value >= bound });
  const atMost = (what: string, value: number, bound: number): void =>
    void found.push({ what, value, bound, met: value <= bound });
  for (const payloadBytes of new Set(rates.map(each => each.payloadBytes))) {
    const ours = rate('fedgate', payloadBytes);
    for (const [system, name, bound] of BOUNDS) {
      const theirs = rate(system, payloadBytes);
      const what = `${payloadBytes} B: fedgate / ${name}`;
      if (!ours || !theirs) continue;
      if (bound !== undefined && payloadBytes === JUDGED_PAYLOAD_BYTES) atLeast(what, ours / theirs, bound);
      else found.push({ what, value: ours / theirs });
    }
  }
  if (latency?.endToEndMs) atMost('one message end to end / bare unary', latency.endToEndMs / latency.unaryMs, 3);
  if (memory)
    atMost(
      `gateway of a stalled subscriber, MB more after ${memory.publishedMb} MB`,
      memory.peakMb - memory.beforeMb,
      FLAT_MB,
    );
  return found;
}

export function formatReport(report: LiveReport): string {
  const { environment: at, rates, latency, memory, skipped } = report;
  const parts = [
    `${at.cpu}, ${at.cores} cores, Linux ${at.kernel}, Node ${at.node}; loopback, one process per part, ${report.seconds} s each; load before ${at.load.toFixed(2)}`,
    formatTable([
      ['system', 'payload', 'messages/s', 'MB/s', 'CPUs: publisher', 'A', 'B', 'subscriber', 'others'],
      ...rates.map(rateRow),
    ]),
    ...skipped.map(({ system, why }) => `${system}: not measured: ${why}`),
  ];
  if (latency) parts.push(formatTable(latencyRows(latency)));
  if (memory)
    parts.push(
      `memory of the gateway of a stalled subscriber: ${memory.beforeMb} MB before, at most ${memory.peakMb} MB`,
    );
  const judged = goals(report).map(({ what, value, bound, met }) =>
    bound === undefined
      ? [what, value.toFixed(2), '', '']
      : [what, value.toFixed(2), `goal ${bound}`, met ? 'PASS' : 'short'],
  );
  if (judged.length > 0) parts.push(formatTable(judged));
  return parts.join('\n\n');
}

const rateRow = ({ system, payloadBytes, messagesPerSecond, cpus: used, otherCpus }: Measurement): string[] => [
  system,
  `${payloadBytes} B`,
  grouped(messagesPerSecond),
  ((messagesPerSecond * payloadBytes) / 1e6).toFixed(0),
  ...used.map(each => each.toFixed(2)),
  otherCpus.toFixed(2),
];

function latencyRows({ unaryMs, endToEndMs }: Latency): string[][] {
  const rows = [['bare unary round trip, median', `${unaryMs.toFixed(3)} ms`]];
  if (endToEndMs !== undefined)
    rows.push(['one message, publish in A to received in B, median', `${endToEndMs.toFixed(3)} ms`]);
  return rows;
}
