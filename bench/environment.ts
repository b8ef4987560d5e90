import { cpus, loadavg, release } from 'node:os';

/** Where a run took place. */
export interface Environment {
  readonly node: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  /** Load average of the minute before the run. Much above 0: somebody else is measured too. */
  readonly load: number;
}

export const environment = (): Environment => ({
  node: process.version,
  kernel: release(),
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  load: loadavg()[0] ?? 0,
});

/** `seconds`: how long each rate was measured; undefined: until it was done. */
export const environmentLine = ({ cpu, cores, kernel, node, load }: Environment, seconds?: number): string => {
  const each = seconds === undefined ? '' : `, ${seconds} s each`;
  return `${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}; loopback, one process per part${each}; load before ${load.toFixed(2)}`;
};
