import type {
  ExportEvidenceRequest,
  GetStoreStatsResponse,
  Outbox,
  OutboxBatch,
} from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import type { ManagedOutbox, SentBatch } from '../durable/types.js';
import { exportEvidence } from '../evidence/export.js';
import { type OrgName, parseOrgName } from '../identity/names.js';
import { DURABLE, LANE } from '../link/hello.js';
import type { Peer } from '../link/peer.js';
import type { Access } from '../messaging/access.js';
import { parsePattern } from '../messaging/address.js';
import type { DurableHost } from '../services/durable-service.js';
import type { Durability } from './durable.js';

export interface DurableAdminParts {
  readonly durable: Durability;
  readonly access: Access;
  readonly federation: string;
  readonly org: OrgName;
  /** Undefined: nobody has asked for a link to that organisation. */
  readonly peer: (org: OrgName) => Peer | undefined;
}

/** The numbers of `DeadLetter.Direction`. */
const DIRECTION = { incoming: 1, outgoing: 2 } as const;
const STATES = { ok: 1, full: 2, failed: 3 } as const;

/** What is stored, in the words of DurableService. */
export function durableAdmin(parts: DurableAdminParts): DurableHost {
  const { durable, access, peer } = parts;
  const { outboxes } = durable;
  const told = (outbox: ManagedOutbox): Outbox => toOutbox(outbox, peer(outbox.org));
  const known = (org: OrgName): ManagedOutbox | undefined => outboxes.all().find(outbox => outbox.org === org);
  return {
    access,
    subscriptions: durable.subscriptions,
    deadLetters: durable.deadLetters,
    outboxes: {
      list: () => outboxes.all().map(told),
      get: async (org, maxBatches) => {
        const outbox = known(org);
        return outbox && { outbox: told(outbox), batches: (await outbox.head(maxBatches)).map(toBatch) };
      },
      setPaused: async (org, paused) => {
        const outbox = outboxes.of(org);
        await outbox.setPaused(paused);
        return told(outbox);
      },
      purge: async org => (await known(org)?.purge()) ?? { batches: 0, records: 0 },
    },
    send: (org, records) => outboxes.of(org).append(records),
    storeStats: () => storeStats(durable),
    evidence: request => evidence(parts, request),
  };
}

function toOutbox(outbox: ManagedOutbox, peer: Peer | undefined): Outbox {
  const { waiting, receipted, next } = outbox;
  const connected = peer?.link?.has(LANE.durable) ?? false;
  return {
    org: outbox.org,
    paused: outbox.paused,
    waitingBatches: BigInt(waiting.batches),
    waitingRecords: BigInt(waiting.records),
    waitingBytes: BigInt(waiting.bytes),
    maxWaitingBytes: BigInt(outbox.maxBytes),
    oldestTimeMs: BigInt(waiting.oldestMs),
    streamEpoch: outbox.newestEpoch,
    nextSequence: BigInt(next.sequence),
    receivedEpoch: receipted?.epoch ?? 0n,
    receivedSequence: BigInt(receipted?.sequence ?? 0),
    connected,
    lastError: connected ? '' : whyNot(peer),
  };
}

function whyNot(peer: Peer | undefined): string {
  if (peer?.link && !peer.link.peerCan(DURABLE)) return `the gateway of ${peer.org} does not know durable delivery`;
  return peer?.lastError?.message ?? '';
}

const toBatch = (batch: SentBatch): OutboxBatch => ({
  streamEpoch: batch.epoch,
  sequence: BigInt(batch.sequence),
  channel: batch.channel,
  senderNode: batch.senderNode,
  records: batch.recordCount,
  bytes: BigInt(batch.bytes),
  storedTimeMs: BigInt(batch.storedMs),
  expireTimeMs: BigInt(batch.expireMs),
});

async function storeStats({ store, inbox }: Durability): Promise<GetStoreStatsResponse> {
  const { diskBytes, freeBytes, commits, changes, bodyBytes } = await store.stats();
  const { quarantined, mended } = inbox.counters;
  // The log keeps what has rules of its own in logs of their own.
  const logs = [...bodyBytes].filter(([name]) => name === 'inbox' || name.startsWith('inbox-'));
  return {
    state: STATES[store.health.state],
    problem: store.health.problem,
    storeId: store.id.toString('hex'),
    diskBytes: BigInt(diskBytes),
    freeBytes: BigInt(freeBytes),
    firstOffset: BigInt(inbox.first),
    endOffset: BigInt(inbox.end),
    logBytes: BigInt(logs.reduce((sum, [, bytes]) => sum + bytes, 0)),
    quarantinedBatches: BigInt(quarantined),
    mendedBatches: BigInt(mended),
    commits: BigInt(commits),
    changes: BigInt(changes),
    restoreTimeMs: BigInt(store.restoredMs),
  };
}

function evidence(
  { durable, federation, org }: DurableAdminParts,
  request: ExportEvidenceRequest,
): AsyncIterable<Buffer> {
  const { direction, fromTimeMs, toTimeMs } = request;
  return exportEvidence({
    store: durable.store,
    federation,
    ownOrg: org,
    now: () => Date.now(),
    org: request.org === '' ? undefined : parseOrgName(request.org, 'org'),
    pattern: request.pattern === '' ? undefined : parsePattern(request.pattern, 'pattern', { inboxes: true }),
    fromMs: fromTimeMs === 0n ? undefined : Number(fromTimeMs),
    toMs: toTimeMs === 0n ? undefined : Number(toTimeMs),
    withoutRecords: request.withoutRecords,
    direction: direction === DIRECTION.outgoing ? 'sent' : direction === DIRECTION.incoming ? 'received' : undefined,
  });
}
