import { type Environment, environmentLine } from '../environment.js';
import { atLeast, atMost, type Goal, goalRow } from '../goals.js';
import { median, type Spread } from '../meter.js';
import { formatTable, grouped } from '../table.js';

/** What one turn of all found. */
export interface Round {
  /** One at a time: a bare unary round trip, a request across two organisations, a bare relay over the same hops. */
  readonly unaryMs: Spread;
  readonly fedgateMs: Spread;
  readonly relayMs: Spread;
  readonly relay: RequestRate;
  readonly fedgate: RequestRate;
}

/** With 64 in flight. */
export interface RequestRate {
  readonly perSecond: number;
  /** CPU time of all four processes for one request, microseconds. */
  readonly cpuMicros: number;
}

export interface RequestsReport {
  readonly environment: Environment;
  readonly seconds: number;
  readonly payloadBytes: number;
  readonly rounds: readonly Round[];
}

/** Ratios are made within a round, and their median counts. */
export function goals({ rounds }: RequestsReport): Goal[] {
  const ratio = (of: (round: Round) => number): number => median(rounds.map(of));
  return [
    atMost(
      'one request, p50 / bare unary round trip, p50',
      ratio(r => r.fedgateMs.p50 / r.unaryMs.p50),
      4,
    ),
    { what: 'one request, p50 / bare relay, p50', value: ratio(r => r.fedgateMs.p50 / r.relayMs.p50) },
    atLeast(
      '64 in flight, rate / bare relay',
      ratio(r => r.fedgate.perSecond / r.relay.perSecond),
      0.6,
    ),
    { what: '64 in flight, CPU time / bare relay', value: ratio(r => r.fedgate.cpuMicros / r.relay.cpuMicros) },
  ];
}

export function formatReport(report: RequestsReport): string {
  const { environment: at, seconds, payloadBytes, rounds } = report;
  const ms = (of: (round: Round) => Spread): string[] => [
    `${median(rounds.map(round => of(round).p50)).toFixed(3)} ms`,
    `${median(rounds.map(round => of(round).p99)).toFixed(3)} ms`,
  ];
  const rate = (of: (round: Round) => RequestRate): string[] => [
    grouped(median(rounds.map(round => of(round).perSecond))),
    `${grouped(median(rounds.map(round => of(round).cpuMicros)))} µs`,
  ];
  const table = [
    [`${payloadBytes} B`, 'p50', 'p99', '64 in flight, /s', 'CPU each'],
    ['bare unary round trip', ...ms(r => r.unaryMs), '', ''],
    ['bare relay, two hops more', ...ms(r => r.relayMs), ...rate(r => r.relay)],
    ['fedgate, two organisations', ...ms(r => r.fedgateMs), ...rate(r => r.fedgate)],
  ];
  return [environmentLine(at, seconds), formatTable(table), formatTable(goals(report).map(goalRow))].join('\n\n');
}
