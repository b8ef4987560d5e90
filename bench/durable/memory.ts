import { createFederation } from '../federation.js';
import { RestartableGateway } from '../gateway.js';
import { untilSettled } from './backlog.js';
import { ADDRESS, CHANNEL, startProgram } from './fedgate.js';
import { ResidentWatch } from './resident.js';

/** Resident sets of the two gateways, MB. */
export interface Memory {
  readonly throughMb: number;
  readonly beforeMb: readonly number[];
  readonly peaksMb: readonly number[];
  readonly afterMb: readonly number[];
}

const PAYLOAD_BYTES = 1024;
/** A tenth of what is expected of the slowest machine, bytes per millisecond. */
const SLOWEST = 2_000;

/** Sends so many bytes of payload through both gateways to a consumer and watches their memory. */
export async function measureMemory(bytes: number): Promise<Memory> {
  const patienceMs = 60_000 + bytes / SLOWEST;
  const records = Math.ceil(bytes / PAYLOAD_BYTES);
  await using federation = await createFederation();
  const { acme, globex } = federation;
  await using gatewayA = new RestartableGateway('gateway A', acme.config);
  await using gatewayB = new RestartableGateway('gateway B', globex.config);
  await gatewayB.start();
  await gatewayA.start();
  using resident = new ResidentWatch([gatewayA, gatewayB]);
  const beforeMb = await resident.sample();
  await using consumer = startProgram('consumer');
  await using publisher = startProgram('publisher');
  await consumer.call('consume', { node: globex.node, channel: CHANNEL });
  const load = { node: acme.node, address: ADDRESS, payloadBytes: PAYLOAD_BYTES, records, ack: 'received' } as const;
  await publisher.call('store', load, patienceMs);
  await untilSettled(async () => (await consumer.call('settled', undefined)) >= records, patienceMs);
  const afterMb = await resident.sample();
  return { throughMb: Math.round(bytes / 1e6), beforeMb, peaksMb: resident.peaks, afterMb };
}
