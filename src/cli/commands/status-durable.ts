import {
  type DurableSubscription,
  type GetStoreStatsResponse,
  GetStoreStatsResponse_State,
  type Outbox,
} from '../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import type { FedgateClient } from '../../client/index.js';
import { FedgateError } from '../../errors.js';
import { escapeControls } from '../../text.js';
import { formatCount } from '../counts.js';
import { formatBytes } from '../progress.js';
import { outboxesTable, outboxJson } from './outbox/text.js';
import { storeJson, storeState } from './store/text.js';
import { subscriptionJson, subscriptionsTable } from './subs/text.js';

/** What a gateway has stored, as far as the asking node may see it: what it may not is undefined. */
export interface DurableStatus {
  readonly store: GetStoreStatsResponse | undefined;
  readonly outboxes: readonly Outbox[] | undefined;
  readonly subscriptions: readonly DurableSubscription[] | undefined;
}

export async function getDurableStatus(client: FedgateClient): Promise<DurableStatus> {
  const [store, outboxes, subscriptions] = await Promise.all([
    ifPossible(client.durable.getStoreStats()),
    ifPossible(client.durable.listOutboxes()),
    ifPossible(client.durable.listSubscriptions()),
  ]);
  return { store, outboxes, subscriptions };
}

/** Undefined when it is not granted, or the gateway is too old to have it. */
async function ifPossible<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof FedgateError && ['PERMISSION_DENIED', 'UNIMPLEMENTED'].includes(error.status))
      return undefined;
    throw error;
  }
}

/** The store in a line, then outboxes that wait and subscriptions that are behind. */
export function describeDurable({ store, outboxes, subscriptions }: DurableStatus, nowMs: number): string {
  const waiting = outboxes?.filter(({ waitingBatches, paused }) => waitingBatches > 0n || paused) ?? [];
  const behind = subscriptions?.filter(({ backlogRecords }) => backlogRecords > 0n) ?? [];
  const quiet = outboxes && subscriptions && waiting.length + behind.length === 0;
  return [
    store ? storeLine(store) : 'store: not shown: this node is not granted `admin`, or the gateway is an older one',
    ...(quiet ? ['nothing waits in an outbox, and no durable subscription is behind'] : []),
    ...(waiting.length > 0 ? ['', outboxesTable(waiting, nowMs)] : []),
    ...(behind.length > 0 ? ['', subscriptionsTable(behind)] : []),
  ].join('\n');
}

function storeLine(stats: GetStoreStatsResponse): string {
  const { state, problem, diskBytes, freeBytes, firstOffset, endOffset, quarantinedBatches } = stats;
  const bad = state === GetStoreStatsResponse_State.STATE_OK ? '' : ` (${escapeControls(problem)})`;
  const lost = quarantinedBatches > 0n ? `, ${formatCount(quarantinedBatches)} batches quarantined` : '';
  const held = formatCount(endOffset - firstOffset);
  return `store: ${storeState(state)}${bad}, ${formatBytes(Number(diskBytes))} on the disk, ${formatBytes(Number(freeBytes))} free, ${held} records in the log${lost}`;
}

export const durableJson = ({ store, outboxes, subscriptions }: DurableStatus): unknown => ({
  store: store && storeJson(store),
  outboxes: outboxes?.map(outboxJson),
  subscriptions: subscriptions?.map(subscriptionJson),
});
