import { setTimeout as sleep } from 'node:timers/promises';
import { createFederation } from '../federation.js';
import { RestartableGateway } from '../gateway.js';
import type { Spread } from '../meter.js';
import type { ProbeMethods, ProbeParams } from '../probe-worker.js';
import { progress } from '../system.js';
import { type CommonMethods, Worker } from '../worker.js';
import { ADDRESS, CHANNEL, startProgram } from './fedgate.js';
import { ResidentWatch } from './resident.js';

/** What became of records that waited for a peer that was away. */
export interface Backlog {
  readonly records: number;
  readonly storedPerSecond: number;
  /** From the return of the peer until a consumer there had acknowledged the last one. */
  readonly drainedPerSecond: number;
  readonly livePerSecond: number;
  /** Live messages end to end without a backlog, and while it drained. */
  readonly alone: Spread;
  readonly during: Spread;
  /** From process start to started, milliseconds: with the records in the outbox, and with them in the log. */
  readonly outboxStartMs: number;
  readonly logStartMs: number;
  /** Highest resident sets of the two gateways, MB. */
  readonly peaksMb: readonly number[];
}

const PAYLOAD_BYTES = 128;
const LIVE_PER_SECOND = 1_000;
const ALONE_MS = 8_000;
const WARMUP_MS = 2_000;
const POLL_MS = 100;
/** A million records a minute is far below every goal. */
const patienceMs = (records: number): number => 60_000 + records * 0.06;

export async function measureBacklog(records: number): Promise<Backlog> {
  await using federation = await createFederation();
  const { acme, globex } = federation;
  await using gatewayA = new RestartableGateway('gateway A', acme.config);
  await using gatewayB = new RestartableGateway('gateway B', globex.config);
  await gatewayB.start();
  await gatewayA.start();
  using resident = new ResidentWatch([gatewayA, gatewayB]);
  await using consumer = startProgram('consumer');
  await using publisher = startProgram('publisher');
  await using probe = new Worker<ProbeMethods & CommonMethods>('probe', new URL('../probe-worker.js', import.meta.url));
  const live: ProbeParams = {
    from: acme.node,
    to: globex.node,
    channel: 'bench/live',
    address: 'pubsub://GLOBEX/bench/live',
    payloadBytes: PAYLOAD_BYTES,
    perSecond: LIVE_PER_SECOND,
  };
  await consumer.call('consume', { node: globex.node, channel: CHANNEL });

  progress('backlog: live messages alone');
  await probe.call('begin', live);
  await sleep(WARMUP_MS);
  await probe.call('end', undefined);
  await probe.call('begin', live);
  await sleep(ALONE_MS);
  const alone = await probe.call('end', undefined);

  progress(`backlog: ${records} records for a peer that is away`);
  await probe.call('begin', live);
  await gatewayB.stop();
  const stored = { node: acme.node, address: ADDRESS, payloadBytes: PAYLOAD_BYTES, records, ack: 'stored' } as const;
  const storeSeconds = await publisher.call('store', stored, patienceMs(records));
  await gatewayA.stop();
  const outboxStartMs = await gatewayA.start();

  progress('backlog: the peer is back');
  await gatewayB.start();
  const from = performance.now();
  await untilSettled(async () => (await consumer.call('settled', undefined)) >= records, patienceMs(records));
  const drainSeconds = (performance.now() - from) / 1000;
  const during = await probe.call('end', undefined);

  progress('backlog: restart with the records in the log');
  await gatewayB.stop();
  const logStartMs = await gatewayB.start();
  return {
    records,
    storedPerSecond: records / storeSeconds,
    drainedPerSecond: records / drainSeconds,
    livePerSecond: LIVE_PER_SECOND,
    alone,
    during,
    outboxStartMs,
    logStartMs,
    peaksMb: resident.peaks,
  };
}

export async function untilSettled(settled: () => Promise<boolean>, patience: number): Promise<void> {
  const until = performance.now() + patience;
  while (!(await settled())) {
    if (performance.now() > until) throw new Error(`not everything was consumed within ${Math.round(patience)} ms`);
    await sleep(POLL_MS);
  }
}
