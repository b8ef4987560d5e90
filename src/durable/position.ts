import type { StreamPosition } from './types.js';

/** Negative when `a` comes before `b`. */
export function compare(a: StreamPosition, b: StreamPosition): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  return a.sequence - b.sequence;
}

export const formatPosition = ({ epoch, sequence }: StreamPosition): string => `${epoch}/${sequence}`;
