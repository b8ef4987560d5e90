import { Hello, type Limits } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import { MAX_FRAME_BYTES, MAX_FRAME_RECORDS } from '../wire/records.js';
import type { IncomingFrame } from './lane.js';

/** The versions of the link protocol this software speaks. */
export const LINK_VERSIONS = { min: 1, max: 1 } as const;
/** What it can do beyond the version. */
export const CAPABILITIES: readonly string[] = ['live'];
/** The capability to receive and send durable batches. */
export const DURABLE = 'durable';
/** The capability to ask for pieces of files and to send them. */
export const FILES = 'files';
/** The capability to tell which nodes are there. */
export const PRESENCE = 'presence';
/** The capability to ask and to answer. */
export const REQUESTS = 'requests';
/** The capability to take requests to which nobody replies. */
export const ONE_WAY = 'one-way';
/** The capability to hand on the registry's snapshot, and to say where others are reached. */
export const ACQUAINTANCE = 'acquaintance';
/** The capability to spread topics. */
export const TOPICS = 'topics';
/** The capability to carry byte streams of nodes. */
export const STREAMS = 'streams';
/** The capability to have mail and durable lanes for each direction. */
export const SPLIT = 'split';

export type LaneKind = Hello['lane'];
/** What goes in bulk on a `…Back` lane comes from the side that was dialled. */
export const LANE = {
  control: 1,
  mail: 2,
  probe: 3,
  durable: 4,
  files: 5,
  filesBack: 6,
  mailBack: 7,
  durableBack: 8,
  topics: 11,
  streams: 9,
  streamsBack: 10,
} as const satisfies Record<string, LaneKind>;

/** What this gateway says of itself in every hello. */
export interface Self {
  readonly federation: string;
  readonly org: string;
  readonly gateway: string;
  readonly software: string;
  /** Drawn when the process starts: tells a restart from a second connection. */
  readonly instanceId: Buffer;
  readonly snapshotVersion: () => bigint;
  /** Whether it opens durable lanes. @default false */
  readonly durable?: boolean;
  /** Whether it has a lane for each direction. Not for gateways as they were before 0.3.0. @default true */
  readonly split?: boolean;
  /** Whether it opens files lanes. @default false */
  readonly files?: boolean;
  /** Whether it tells which nodes are there. @default false */
  readonly presence?: boolean;
  /** Whether it takes requests and sends some. @default false */
  readonly requests?: boolean;
  /** Whether it hands on what it knows of other members. @default false */
  readonly acquaintance?: boolean;
  /** Whether it opens topics lanes. @default false */
  readonly topics?: boolean;
  /** Whether it opens streams lanes. @default false */
  readonly streams?: boolean;
}

const capabilitiesOf = ({
  durable,
  files,
  presence,
  requests,
  acquaintance,
  topics,
  streams,
  split = true,
}: Self): readonly string[] => [
  ...CAPABILITIES,
  ...(split ? [SPLIT] : []),
  ...(durable ? [DURABLE] : []),
  ...(files ? [FILES] : []),
  ...(presence ? [PRESENCE] : []),
  ...(requests ? [REQUESTS, ONE_WAY] : []),
  ...(acquaintance ? [ACQUAINTANCE] : []),
  ...(topics ? [TOPICS] : []),
  ...(streams ? [STREAMS] : []),
];

/** The lanes on which batches go that are not durable, of a link between us and a peer. */
export const mailLanes = ({ split = true }: Self, { capabilities }: Hello): readonly LaneKind[] =>
  split && capabilities.includes(SPLIT) ? [LANE.mail, LANE.mailBack] : [LANE.mail];

/** What a hello says more on a durable lane: where both streams go on. */
export type DurableHello = Pick<
  Hello,
  'streamEpoch' | 'nextSequence' | 'newestEpoch' | 'receivedEpoch' | 'receivedSequence' | 'storeId'
>;

/** What the hello of an additional lane says beside who speaks. */
export type LaneHello = Partial<DurableHello>;

/** Bytes of batches without an outcome that we take from a peer. Memory: that much per peer at most. */
export const MAX_IN_FLIGHT_BYTES = 32 * 1024 * 1024;

const LIMITS: Limits = {
  maxBatchBytes: MAX_FRAME_BYTES,
  maxBatchRecords: MAX_FRAME_RECORDS,
  maxInFlightBytes: MAX_IN_FLIGHT_BYTES,
};

/** `stream`: the epoch of the mail lane, or what the hello of an additional lane says more. */
export function makeHello(self: Self, lane: LaneKind, linkId: Uint8Array, stream: bigint | LaneHello): Hello {
  return Hello.fromPartial({
    lane,
    linkId,
    federation: self.federation,
    org: self.org,
    gateway: self.gateway,
    versionMin: LINK_VERSIONS.min,
    versionMax: LINK_VERSIONS.max,
    capabilities: [...capabilitiesOf(self)],
    limits: LIMITS,
    ...(typeof stream === 'bigint' ? { streamEpoch: stream, nextSequence: 1n } : stream),
    timeMs: BigInt(Date.now()),
    snapshotVersion: self.snapshotVersion(),
    software: self.software,
    instanceId: self.instanceId,
  });
}

/** Judges the first frame of a peer. Throws FRAME_UNEXPECTED, FIELD_INVALID, FEDERATION_MISMATCH, IDENTITY_MISMATCH, VERSION_UNSUPPORTED. */
export function checkHello(frame: IncomingFrame, self: Self, peer: Identity): Hello {
  if (frame.$case !== 'hello')
    throw new FedgateError('FRAME_UNEXPECTED', `the first frame of a lane must be a hello, not a ${frame.$case}`);
  const hello = frame.value;
  if (hello.linkId.length !== 16) throw invalid('link_id', 'must be 16 bytes');
  if (hello.federation !== self.federation) {
    throw new FedgateError('FEDERATION_MISMATCH', `${peer.org} is of another federation`, {
      metadata: { federation: self.federation },
    });
  }
  if (hello.org !== peer.org || hello.gateway !== peer.name) {
    throw new FedgateError('IDENTITY_MISMATCH', `the hello of ${peer.org}/${peer.name} claims to be another's`, {
      metadata: { org: peer.org },
    });
  }
  if (hello.versionMin > LINK_VERSIONS.max || hello.versionMax < LINK_VERSIONS.min) {
    throw new FedgateError(
      'VERSION_UNSUPPORTED',
      `link versions ${hello.versionMin} to ${hello.versionMax} are offered, ${LINK_VERSIONS.min} to ${LINK_VERSIONS.max} are spoken here`,
    );
  }
  const limits = hello.limits;
  if (!limits || limits.maxBatchBytes < 64 * 1024 || limits.maxInFlightBytes < limits.maxBatchBytes) {
    throw invalid('limits', 'must allow batches of 64 KiB and at least one on the way');
  }
  if (hello.lane === LANE.durable) checkDurable(hello);
  return hello;
}

/** Sequences are numbers here; nobody gets to 2^53 batches. */
function checkDurable({ streamEpoch, nextSequence, receivedEpoch, receivedSequence, storeId }: Hello): void {
  if (storeId.length !== 16) throw invalid('store_id', 'must be 16 bytes');
  if (streamEpoch === 0n) throw invalid('stream_epoch', 'must not be 0');
  if (nextSequence === 0n || nextSequence > BigInt(Number.MAX_SAFE_INTEGER))
    throw invalid('next_sequence', 'must be between 1 and 2^53');
  if ((receivedEpoch === 0n) !== (receivedSequence === 0n) || receivedSequence > BigInt(Number.MAX_SAFE_INTEGER))
    throw invalid('received_sequence', 'must be between 1 and 2^53 when there is an epoch, and 0 when there is none');
}

const invalid = (field: string, description: string): FedgateError =>
  new FedgateError('FIELD_INVALID', `hello.${field} ${description}`, {
    fields: [{ field: `hello.${field}`, description }],
  });
