/** What is left of buffers behind so many of their bytes. */
export function behind(buffers: readonly Buffer[], bytes: number): readonly Buffer[] {
  let skip = bytes;
  let whole = 0;
  for (const { length } of buffers) {
    if (skip < length) break;
    skip -= length;
    whole++;
  }
  const [first, ...others] = buffers.slice(whole);
  return first ? [first.subarray(skip), ...others] : [];
}
