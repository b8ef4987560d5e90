/** Keys order like what they are made of: a number is eight bytes, big-endian; a text ends with a zero byte. */
export function key(...parts: readonly (string | number | bigint | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.map(part => {
      if (typeof part === 'string') return Buffer.from(`${part}\0`);
      if (part instanceof Uint8Array) return part;
      const bytes = Buffer.allocUnsafe(8);
      bytes.writeBigUInt64BE(BigInt(part));
      return bytes;
    }),
  );
}

/** The eight-byte number at a place of a key. */
export const numberAt = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64BE(at));

/** All keys that begin so. */
export function prefixed(prefix: Buffer): { readonly from: Buffer; readonly to: Buffer } {
  const to = Buffer.from(prefix);
  for (let i = to.length - 1; i >= 0; i--) {
    const byte = to[i] as number;
    if (byte < 0xff) {
      to[i] = byte + 1;
      return { from: prefix, to: to.subarray(0, i + 1) };
    }
  }
  throw new RangeError('a prefix of nothing but 0xff has no end');
}
