import {
  type GetStoreStatsResponse,
  GetStoreStatsResponse_State,
} from '../../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { escapeControls } from '../../../text.js';
import { formatCount, plural } from '../../counts.js';
import { table } from '../../env.js';
import { formatBytes } from '../../progress.js';
import { ago, isoTime, isoTimeIfAny } from '../../times.js';

export function storeState(state: GetStoreStatsResponse_State): 'ok' | 'full' | 'failed' | 'unknown' {
  const { STATE_OK, STATE_FULL, STATE_FAILED } = GetStoreStatsResponse_State;
  return state === STATE_OK ? 'ok' : state === STATE_FULL ? 'full' : state === STATE_FAILED ? 'failed' : 'unknown';
}

/** How the store of a running gateway is. */
export function describeStore(stats: GetStoreStatsResponse, nowMs: number): string {
  const { diskBytes, freeBytes, logBytes, firstOffset, endOffset, commits, changes, restoreTimeMs } = stats;
  const perCommit = commits > 0n ? `, ${(Number(changes) / Number(commits)).toFixed(1)} changes in each` : '';
  return table([
    ['state', `${storeState(stats.state)}${stats.problem ? `: ${escapeControls(stats.problem)}` : ''}`],
    ['size', `${formatBytes(Number(diskBytes))} on the disk, which has ${formatBytes(Number(freeBytes))} left`],
    ['log', logText(firstOffset, endOffset, logBytes)],
    ['unreadable', unreadable(stats)],
    ['commits', `${formatCount(commits)} since the gateway started${perCommit}`],
    ['restored', restoreTimeMs > 0n ? `${isoTime(restoreTimeMs)} (${ago(restoreTimeMs, nowMs)})` : 'never'],
    ['store id', stats.storeId],
  ]);
}

function logText(first: bigint, end: bigint, bytes: bigint): string {
  if (end <= first) return 'empty';
  return `${plural(end - first, 'record')}, ${formatBytes(Number(bytes))}: offsets ${formatCount(first)} to ${formatCount(end - 1n)}`;
}

function unreadable({ quarantinedBatches, mendedBatches }: GetStoreStatsResponse): string {
  if (quarantinedBatches === 0n) return 'none';
  return `${plural(quarantinedBatches, 'batch was', 'batches were')} taken out, ${formatCount(mendedBatches)} of them fetched again`;
}

export const storeJson = ({ state, restoreTimeMs, ...rest }: GetStoreStatsResponse): unknown => ({
  state: storeState(state),
  ...rest,
  restoreTime: isoTimeIfAny(restoreTimeMs),
});
