import type { KeyObject } from 'node:crypto';
import {
  type Member,
  Member_State,
  type SignedRecord,
  type SignedSnapshot,
  Snapshot,
} from '../../gen/ts/fedgate/registry/v1/record.js';
import { describe, FedgateError, type Reason } from '../errors.js';
import { isOrgName, type OrgName } from '../identity/names.js';
import { signDetached, verifyDetached } from '../identity/signing.js';
import { checkSuccession, type OrgProfile, readRecord } from './record.js';

/**
 * All members at one moment, signed by the registry. Whoever goes by snapshots trusts the registry to say who takes part, and nothing
 * more: what a member says of itself stays signed by the member, from the first record on.
 */

export type MemberState = 'active' | 'suspended' | 'removed';

export interface DirectoryMember {
  readonly org: OrgName;
  readonly state: MemberState;
  readonly profile: OrgProfile;
}

/** A snapshot that was checked. */
export interface AcceptedSnapshot {
  readonly version: bigint;
  readonly timeMs: number;
  readonly expireTimeMs: number;
  /** Sorted by name. */
  readonly members: ReadonlyMap<string, DirectoryMember>;
  readonly signed: SignedSnapshot;
}

export interface SnapshotRules {
  readonly federation: string;
  /** The registry's snapshot verification key. */
  readonly snapshotKey: KeyObject;
}

export function signSnapshot(content: Snapshot, key: KeyObject): SignedSnapshot {
  const snapshot = Snapshot.encode(content).finish();
  return { snapshot, signature: signDetached('snapshot', key, snapshot) };
}

/**
 * Decides whether a snapshot takes the place of the one at hand; returns what counts from now on, which is `previous` itself when the
 * very same came again.
 *
 * Throws SNAPSHOT_INVALID, FEDERATION_MISMATCH, SNAPSHOT_STALE, SNAPSHOT_FORKED or SNAPSHOT_EXPIRED; the caller then keeps what it has.
 */
export function acceptSnapshot(
  previous: AcceptedSnapshot | undefined,
  signed: SignedSnapshot,
  { nowMs, ...rules }: SnapshotRules & { readonly nowMs: number },
): AcceptedSnapshot {
  const content = openSnapshot(signed, rules);
  if (previous) {
    if (content.version < previous.version) {
      throw refuse('SNAPSHOT_STALE', `it has version ${content.version}, and ${previous.version} is at hand`);
    }
    if (content.version === previous.version) {
      if (Buffer.compare(signed.snapshot, previous.signed.snapshot) === 0) return previous;
      throw refuse('SNAPSHOT_FORKED', `it is another version ${content.version} than the one at hand`);
    }
  }
  if (Number(content.expireTimeMs) <= nowMs) {
    throw refuse('SNAPSHOT_EXPIRED', `it ended ${formatTime(content.expireTimeMs)}; is this machine's clock right?`);
  }
  return checkContent(previous, content, signed, rules.federation);
}

/** Reads a snapshot that was accepted before, from one's own disk: whole and genuine, but maybe expired. Throws as `acceptSnapshot`. */
export function readSnapshot(signed: SignedSnapshot, rules: SnapshotRules): AcceptedSnapshot {
  return checkContent(undefined, openSnapshot(signed, rules), signed, rules.federation);
}

/** The content of a genuine snapshot of this federation. Nothing is decoded before the signature held. */
function openSnapshot(signed: SignedSnapshot, { federation, snapshotKey }: SnapshotRules): Snapshot {
  if (!verifyDetached('snapshot', snapshotKey, signed.snapshot, signed.signature)) {
    throw refuse('SNAPSHOT_INVALID', "it is not signed by this federation's registry");
  }
  const content = decode(signed.snapshot);
  if (content.federation !== federation) throw refuse('FEDERATION_MISMATCH', `it is not of ${federation}`);
  return content;
}

function decode(bytes: Uint8Array): Snapshot {
  try {
    return Snapshot.decode(bytes);
  } catch (cause) {
    throw refuse('SNAPSHOT_INVALID', 'its bytes are no snapshot', cause);
  }
}

function checkContent(
  previous: AcceptedSnapshot | undefined,
  content: Snapshot,
  signed: SignedSnapshot,
  federation: string,
): AcceptedSnapshot {
  const members = new Map<string, DirectoryMember>();
  let last = '';
  for (const wire of content.members) {
    if (wire.org <= last) throw refuse('SNAPSHOT_INVALID', 'its members are not in order');
    last = wire.org;
    members.set(wire.org, checkMember(previous?.members.get(wire.org), wire, federation));
  }
  for (const org of previous?.members.keys() ?? []) {
    if (!members.has(org)) throw refuse('SNAPSHOT_INVALID', `${org} is missing, and members never vanish`);
  }
  const { version, timeMs, expireTimeMs } = content;
  return { version, timeMs: Number(timeMs), expireTimeMs: Number(expireTimeMs), members, signed };
}

function checkMember(previous: DirectoryMember | undefined, wire: Member, federation: string): DirectoryMember {
  const { org, record } = wire;
  if (!isOrgName(org) || !record) throw refuse('SNAPSHOT_INVALID', 'a member has no name or no record');
  const state = STATES.get(wire.state) ?? 'suspended';
  if (previous?.state === 'removed' && state !== 'removed') {
    throw refuse('SNAPSHOT_INVALID', `${org} was removed, which is for ever, and is there again`);
  }
  const profile = checkProfile(previous?.profile, org, record, federation);
  // The same object as long as nothing changed, so that others can tell by looking at it.
  return previous?.state === state && previous.profile === profile ? previous : { org, state, profile };
}

function checkProfile(
  previous: OrgProfile | undefined,
  org: string,
  record: SignedRecord,
  federation: string,
): OrgProfile {
  // Most records are as they were: two comparisons instead of a certificate and two signatures.
  if (previous && equal(previous.signed.record, record.record) && equal(previous.signed.signature, record.signature)) {
    return previous;
  }
  try {
    const profile = readRecord(record, federation);
    if (profile.org !== org) throw new Error(`it names ${profile.org}`);
    if (previous && equal(previous.signed.record, record.record)) return previous;
    if (previous) checkSuccession(previous, profile);
    return profile;
  } catch (cause) {
    throw refuse('SNAPSHOT_INVALID', `${org}: ${describe(cause)}`, cause);
  }
}

/** A state that is not known counts as suspended. */
const STATES = new Map<Member_State, MemberState>([
  [Member_State.STATE_ACTIVE, 'active'],
  [Member_State.STATE_SUSPENDED, 'suspended'],
  [Member_State.STATE_REMOVED, 'removed'],
]);

const WIRE_STATES: { readonly [state in MemberState]: Member_State } = {
  active: Member_State.STATE_ACTIVE,
  suspended: Member_State.STATE_SUSPENDED,
  removed: Member_State.STATE_REMOVED,
};

export const memberStateFromWire = (state: Member_State): MemberState | undefined => STATES.get(state);

export const memberStateToWire = (state: MemberState): Member_State => WIRE_STATES[state];

export const memberToWire = ({ org, state, profile }: DirectoryMember): Member => ({
  org,
  state: memberStateToWire(state),
  record: profile.signed,
});

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

const formatTime = (timeMs: bigint): string => {
  const date = new Date(Number(timeMs));
  return Number.isNaN(date.getTime()) ? `at ${timeMs}` : date.toISOString();
};

const refuse = (reason: Reason, why: string, cause?: unknown): FedgateError =>
  new FedgateError(reason, `the registry's snapshot is refused: ${why}`, cause === undefined ? {} : { cause });
