import type { Outbox, OutboxBatch } from '../../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { escapeControls } from '../../../text.js';
import { formatCount, plural } from '../../counts.js';
import { formatDuration } from '../../duration.js';
import { table } from '../../env.js';
import { formatBytes } from '../../progress.js';
import { ago, isoTime, isoTimeIfAny } from '../../times.js';

const stateOf = ({ paused, connected }: Outbox): string => (paused ? 'paused' : connected ? 'open' : 'away');

export function outboxesTable(outboxes: readonly Outbox[], nowMs: number): string {
  const rows = outboxes.map(each => [
    each.org,
    stateOf(each),
    formatCount(each.waitingRecords),
    formatCount(each.waitingBatches),
    `${formatBytes(Number(each.waitingBytes))} of ${formatBytes(Number(each.maxWaitingBytes))}`,
    ago(each.oldestTimeMs, nowMs),
    escapeControls(each.lastError) || '-',
  ]);
  return table([['OUTBOX', 'STATE', 'RECORDS', 'BATCHES', 'SIZE', 'OLDEST', 'WHY IT WAITS'], ...rows]);
}

/** All that is known of one. */
export function describeOutbox(outbox: Outbox, nowMs: number): string {
  const { waitingRecords, waitingBatches, waitingBytes, maxWaitingBytes } = outbox;
  const states = { paused: 'paused by an operator', open: 'open: batches are sent', away: 'away: not connected' };
  return table([
    ['organisation', outbox.org],
    ['state', states[stateOf(outbox) as keyof typeof states]],
    ['waiting', `${plural(waitingRecords, 'record')} in ${plural(waitingBatches, 'batch', 'batches')}`],
    ['size', `${formatBytes(Number(waitingBytes))} of at most ${formatBytes(Number(maxWaitingBytes))}`],
    ['oldest', ago(outbox.oldestTimeMs, nowMs)],
    ['received there', receivedText(outbox)],
    ['next batch', `${formatCount(outbox.nextSequence)} of stream ${outbox.streamEpoch}`],
    ['last error', escapeControls(outbox.lastError) || 'none'],
  ]);
}

const receivedText = ({ receivedEpoch, receivedSequence }: Outbox): string =>
  receivedEpoch > 0n ? `up to batch ${formatCount(receivedSequence)} of stream ${receivedEpoch}` : 'nothing yet';

export function batchesTable(batches: readonly OutboxBatch[], nowMs: number): string {
  const rows = batches.map(each => [
    formatCount(each.sequence),
    each.channel,
    each.senderNode || 'the gateway',
    formatCount(each.records),
    formatBytes(Number(each.bytes)),
    ago(each.storedTimeMs, nowMs),
    each.expireTimeMs > 0n ? expiryText(Number(each.expireTimeMs) - nowMs) : 'never',
  ]);
  return table([['BATCH', 'CHANNEL', 'NODE', 'RECORDS', 'SIZE', 'STORED', 'EXPIRES'], ...rows]);
}

const expiryText = (leftMs: number): string => (leftMs > 0 ? `in ${formatDuration(leftMs)}` : 'is over');

export const outboxJson = (outbox: Outbox) => {
  // Epochs do not fit into a number of JSON.
  const { oldestTimeMs, streamEpoch, receivedEpoch, ...rest } = outbox;
  const epochs = { streamEpoch: String(streamEpoch), receivedEpoch: String(receivedEpoch) };
  return { ...rest, ...epochs, state: stateOf(outbox), oldestTime: isoTimeIfAny(oldestTimeMs) };
};

export const batchJson = ({ storedTimeMs, expireTimeMs, streamEpoch, ...rest }: OutboxBatch): unknown => ({
  ...rest,
  streamEpoch: String(streamEpoch),
  storedTime: isoTime(storedTimeMs),
  expireTime: isoTimeIfAny(expireTimeMs),
});
