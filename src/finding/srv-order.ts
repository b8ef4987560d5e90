/** A target out of a DNS SRV record (RFC 2782). */
export interface SrvTarget {
  readonly name: string;
  readonly port: number;
  /** Lower ones come first. 0 to 65535. */
  readonly priority: number;
  /** Of those with one priority, how likely each is to be the next. 0 to 65535. */
  readonly weight: number;
}

/**
 * The order in which targets are to be tried: by priority, and within one by weighted lot, as RFC 2782 has it. `random` draws from 0 to 1,
 * 1 excluded.
 */
export function orderTargets<T extends Pick<SrvTarget, 'priority' | 'weight'>>(
  targets: readonly T[],
  random: () => number,
): T[] {
  const priorities = [...new Set(targets.map(({ priority }) => priority))].sort((a, b) => a - b);
  return priorities.flatMap(priority =>
    drawn(
      targets.filter(target => target.priority === priority),
      random,
    ),
  );
}

function drawn<T extends Pick<SrvTarget, 'weight'>>(targets: readonly T[], random: () => number): T[] {
  // Those of weight 0 stand first: they are drawn only when the lot is 0, which is how they get their small chance.
  const left = [...targets].sort((a, b) => Number(a.weight > 0) - Number(b.weight > 0));
  const order: T[] = [];
  while (left.length > 0) {
    const sum = left.reduce((total, { weight }) => total + weight, 0);
    const lot = Math.floor(random() * (sum + 1));
    let running = 0;
    const index = left.findIndex(({ weight }) => {
      running += weight;
      return running >= lot;
    });
    order.push(...left.splice(Math.max(0, index), 1));
  }
  return order;
}
