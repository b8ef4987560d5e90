import type { SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import type { FedgateError } from '../errors.js';
import type { AddressHint } from '../finding/types.js';
import type { OrgName } from '../identity/names.js';

/** What peers pass on about other members: the registry's snapshot, and where they reach somebody. */

/** Bytes of a snapshot in one frame. */
export const SNAPSHOT_PART_BYTES = 32 * 1024;
/** The largest snapshot that is handed on: as large as the registry's may be. */
export const MAX_HANDED_SNAPSHOT_BYTES = 32 * 1024 * 1024;
/** The shortest time between two tellings of which snapshot there is, milliseconds. */
export const KNOWN_EVERY_MS = 1_000;
/** How long the registry has to say what a peer says it said, milliseconds, while it is connected. */
export const REGISTRY_FIRST_MS = 1_000;
/** How long nothing may come of a snapshot that was asked for, milliseconds. */
export const PART_TIMEOUT_MS = 10_000;
/** How long a whole snapshot may take, milliseconds: 32 MiB at 1 MB/s, and as much again. */
export const SNAPSHOT_TIMEOUT_MS = 60_000;
/** How long an organisation that handed on what it should not is not listened to, milliseconds. */
export const MUTED_MS = 600_000;
/** Peers that are asked where an organisation is. */
export const MAX_ASKED_PEERS = 8;
/** Places in one answer. */
export const MAX_PLACES = 8;
/** How long a peer has to say where somebody is, milliseconds. */
export const PLACES_TIMEOUT_MS = 1_500;
/** Questions for places that a peer may put at once, and per second in the long run. More are answered with nothing. */
export const PLACES_RATE = { burst: 50, perSecond: 5 } as const;
/** Questions for places on the way on one link. */
export const MAX_OPEN_PLACES = 64;

/** The snapshot at hand, ready to be handed on. */
export interface KnownSnapshot {
  readonly version: bigint;
  readonly sha256: Buffer;
  /** An encoded SignedSnapshot. */
  readonly bytes: Buffer;
}

/** What a peer says it goes by. */
export interface OfferedSnapshot {
  readonly version: bigint;
  readonly sha256: Buffer;
  readonly sizeBytes: number;
}

export interface AcquaintanceHost {
  /** Whether the snapshot is handed on, and taken. */
  readonly snapshots: boolean;
  /** Whether addresses are told, and asked for. */
  readonly addresses: boolean;
  readonly directory: SnapshotPlace;
  /** Whether the registry itself tells of changes at the moment. */
  readonly registryConnected: () => boolean;
  /** Hears of a snapshot that came through a peer and counts from now on. */
  readonly onTaken: (from: OrgName, version: bigint) => void;
  /** Hears of peers that handed on what they should not. */
  readonly onAlarm: (error: FedgateError, from: OrgName) => void;
}

/** What is needed of a Directory. */
export interface SnapshotPlace {
  readonly version: bigint;
  readonly signed: SignedSnapshot | undefined;
  offer(signed: SignedSnapshot): boolean;
  onChange(listener: () => void): () => void;
}

/** Where this gateway itself reaches somebody, for peers that ask. */
export type TellPlaces = (org: string) => readonly AddressHint[];
