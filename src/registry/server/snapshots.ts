import type { KeyObject } from 'node:crypto';
import type { SignedSnapshot } from '../../../gen/ts/fedgate/registry/v1/record.js';
import { type DirectoryMember, memberToWire, signSnapshot } from '../snapshot.js';

export interface IssuedSnapshot {
  readonly version: bigint;
  readonly timeMs: number;
  readonly expireTimeMs: number;
  readonly signed: SignedSnapshot;
}

export interface IssuerOptions {
  readonly federation: string;
  readonly key: KeyObject;
  readonly lifetimeMs: number;
}

/** A new one is made when this share of its life is over, so that gateways can do without the registry for most of a life. */
const RENEW_AFTER = 1 / 4;

/** Signs the state of the federation. The caller sees to it that a version is on stable storage before, and is never used twice. */
export function issueSnapshot(
  { federation, key, lifetimeMs }: IssuerOptions,
  version: bigint,
  members: Iterable<DirectoryMember>,
  nowMs: number,
): IssuedSnapshot {
  const expireTimeMs = nowMs + lifetimeMs;
  const sorted = [...members].sort((a, b) => (a.org < b.org ? -1 : 1));
  const content = {
    federation,
    version,
    timeMs: BigInt(nowMs),
    expireTimeMs: BigInt(expireTimeMs),
    members: sorted.map(memberToWire),
  };
  return { version, timeMs: nowMs, expireTimeMs, signed: signSnapshot(content, key) };
}

/** When a snapshot is to be replaced by a younger one. */
export const renewalTimeMs = ({ timeMs, expireTimeMs }: IssuedSnapshot): number =>
  timeMs + (expireTimeMs - timeMs) * RENEW_AFTER;
