import { atLeast, type Goal } from './goals.js';
import type { Measurement } from './system.js';
import { grouped } from './table.js';

/** The payload that the goals speak of. */
const JUDGED_PAYLOAD_BYTES = 128;

/** Another system, its name in the report, and which share of its rate is aimed at. Undefined: for comparison only. */
export type Bound<Name extends string> = readonly [system: Name, name: string, bound: number | undefined];

/** Our rate by that of each other system, for every payload. */
export function ratios<Name extends string>(
  rates: readonly Measurement<Name>[],
  ours: Name,
  bounds: readonly Bound<Name>[],
): Goal[] {
  const rate = (system: Name, payloadBytes: number): number | undefined =>
    rates.find(each => each.system === system && each.payloadBytes === payloadBytes)?.messagesPerSecond;
  return [...new Set(rates.map(each => each.payloadBytes))].flatMap(payloadBytes => {
    const our = rate(ours, payloadBytes);
    return bounds.flatMap(([system, name, bound]): Goal[] => {
      const their = rate(system, payloadBytes);
      const what = `${payloadBytes} B: ${ours} / ${name}`;
      if (!our || !their) return [];
      const judged = bound !== undefined && payloadBytes === JUDGED_PAYLOAD_BYTES;
      return [judged ? atLeast(what, our / their, bound) : { what, value: our / their }];
    });
  });
}

/** Rows for a table, the head included. */
export const rateRows = (rates: readonly Measurement<string>[]): string[][] => [
  ['system', 'payload', 'messages/s', 'MB/s', 'CPUs: publisher', 'A', 'B', 'subscriber', 'others', 'MB: A', 'B'],
  ...rates.map(({ system, payloadBytes, messagesPerSecond, cpus, otherCpus, hopsMb }) => [
    system,
    `${payloadBytes} B`,
    grouped(messagesPerSecond),
    ((messagesPerSecond * payloadBytes) / 1e6).toFixed(0),
    ...cpus.map(each => each.toFixed(2)),
    otherCpus.toFixed(2),
    ...hopsMb.map(String),
  ]),
];
