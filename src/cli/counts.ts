/** Numbers for people: `1,234,567`. */
export const formatCount = (count: number | bigint): string => count.toLocaleString('en');

/** `1 record`, `2,000 records`. */
export const plural = (count: number | bigint, one: string, many = `${one}s`): string =>
  `${formatCount(count)} ${Number(count) === 1 ? one : many}`;
