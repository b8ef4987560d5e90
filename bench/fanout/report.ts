import { type Environment, environmentLine } from '../environment.js';
import { atLeast, type Goal, goalRow } from '../goals.js';
import { median } from '../meter.js';
import { formatTable, grouped } from '../table.js';
import type { SystemName } from './options.js';

/** One measurement. */
export interface Fanout {
  readonly system: SystemName;
  /** Records of a batch. */
  readonly batch: number;
  /** Records that arrived at subscribers. */
  readonly deliveriesPerSecond: number;
  /** CPU time of the hub for one delivery, microseconds: what a busy machine changes little. */
  readonly hubMicros: number;
  /** CPU time, seconds per second. */
  readonly hubCpus: number;
  readonly publisherCpus: number;
  readonly subscriberCpus: number;
  readonly otherCpus: number;
  /** The highest resident set the hub ever had. */
  readonly hubPeakMb: number;
}

export interface FanoutReport {
  readonly environment: Environment;
  readonly seconds: number;
  readonly subscribers: number;
  readonly processes: number;
  readonly connections: number;
  readonly payloadBytes: number;
  readonly found: readonly Fanout[];
}

const GOAL = { system: 'fedgate', batch: 100, deliveriesPerSecond: 200_000 } as const;

/** The median of all rounds. */
const of = (found: readonly Fanout[], value: (each: Fanout) => number): number => median(found.map(value));

export function goals({ found }: FanoutReport): Goal[] {
  return [...new Set(found.map(({ batch }) => batch))].flatMap(batch => {
    const [ours, bare] = [at(found, 'fedgate', batch), at(found, 'bare', batch)];
    if (ours.length === 0) return [];
    const rate = of(ours, each => each.deliveriesPerSecond);
    const what = `batches of ${batch}: deliveries a second`;
    const rated = batch === GOAL.batch ? atLeast(what, rate, GOAL.deliveriesPerSecond) : { what, value: rate };
    if (bare.length === 0) return [rated];
    const value = of(ours, each => each.hubMicros) / of(bare, each => each.hubMicros);
    return [rated, { what: `batches of ${batch}: CPU time of the gateway / bare hub`, value }];
  });
}

const at = (found: readonly Fanout[], system: SystemName, batch: number): Fanout[] =>
  found.filter(each => each.system === system && each.batch === batch);

export function formatReport(report: FanoutReport): string {
  const { environment: where, seconds, found, subscribers, processes, connections, payloadBytes } = report;
  const kinds = [...new Map(found.map(each => [`${each.batch} ${each.system}`, each])).values()];
  const table = [
    ['batch', 'system', 'deliveries/s', 'µs of hub each', 'CPUs: hub', 'publisher', 'subscribers', 'others', 'MB: hub'],
    ...kinds.map(({ batch, system }) => {
      const all = at(found, system, batch);
      return [
        String(batch),
        system,
        grouped(of(all, each => each.deliveriesPerSecond)),
        of(all, each => each.hubMicros).toFixed(2),
        of(all, each => each.hubCpus).toFixed(2),
        of(all, each => each.publisherCpus).toFixed(2),
        of(all, each => each.subscriberCpus).toFixed(2),
        of(all, each => each.otherCpus).toFixed(2),
        grouped(of(all, each => each.hubPeakMb)),
      ];
    }),
  ];
  const load = `${payloadBytes} B to ${subscribers} subscriptions, of ${processes} processes with ${connections} connections each`;
  return [environmentLine(where, seconds), load, formatTable(table), formatTable(goals(report).map(goalRow))].join(
    '\n\n',
  );
}
