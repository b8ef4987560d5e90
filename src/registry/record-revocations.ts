import type { RevokedKey as WireKey } from '../../gen/ts/fedgate/registry/v1/record.js';

/**
 * The keys in a record whose certificates its organisation took back.
 *
 * Registries of earlier versions let anything through here. So what breaks a rule is passed over when a record is read, lest one
 * member's nonsense make everybody refuse a snapshot, and told as `problem`, for which a registry refuses a new record.
 */

export interface RevokedKey {
  /** See `tlsKeyId`. */
  readonly keyId: string;
  /** When it was revoked, milliseconds since 1970. */
  readonly timeMs: number;
}

export interface RecordRevocations {
  /** By the key's id. */
  readonly keys: ReadonlyMap<string, RevokedKey>;
  /** The first rule that is broken, a plain sentence. */
  readonly problem: string | undefined;
}

export const MAX_REVOKED_KEYS = 1_000;
const SHA256_BYTES = 32;

export function readRevocations(wire: readonly WireKey[]): RecordRevocations {
  const cut = wire.slice(0, MAX_REVOKED_KEYS);
  const good = cut.filter(({ sha256 }) => sha256.length === SHA256_BYTES);
  const keys = new Map(
    good.map(({ sha256, timeMs }) => {
      const keyId = Buffer.from(sha256).toString('hex');
      return [keyId, { keyId, timeMs: Number(timeMs) }];
    }),
  );
  return { keys, problem: problemOf(wire.length, cut.length - good.length, good.length - keys.size) };
}

function problemOf(all: number, malformed: number, twice: number): string | undefined {
  if (all > MAX_REVOKED_KEYS) return `it revokes more than ${MAX_REVOKED_KEYS} keys`;
  if (malformed > 0) return `the id of a revoked key has not ${SHA256_BYTES} bytes`;
  if (twice > 0) return 'it revokes a key twice';
  return undefined;
}

export const revokedKeyToWire = ({ keyId, timeMs }: RevokedKey): WireKey => ({
  sha256: Buffer.from(keyId, 'hex'),
  timeMs: BigInt(timeMs),
});
