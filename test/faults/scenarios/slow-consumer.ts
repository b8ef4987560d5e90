import { conclude, type Outcome, PROGRESS_MS, type Settings } from '../support/scenario.js';
import { World, type WorldPlan } from '../support/world.js';

const MIB = 1024 * 1024;
/** Caps that a few hundred messages of this size fill up. */
const CAPS = {
  extra: `durable: { outboxBytes: ${2 * MIB}, inboxBytesPerPeer: ${2 * MIB}, inboxBytesPerChannel: ${2 * MIB} }`,
};
const PADDING_BYTES = 16 * 1024;
const PER_SECOND = 200;
const TIMES_SLOWER = 100;
/** What waits in the consumer's process is not to come a second time, behind what came later: longer than all this may take. */
const ACK_WAIT_MS = 600_000;

const plan = (workMs: number): WorldPlan => ({
  ACME: {
    publishers: [
      {
        name: 'pub',
        to: 'GLOBEX',
        channel: 'orders/new',
        level: 'stored',
        perSecond: PER_SECOND,
        window: 1,
        idempotency: 'id',
        paddingBytes: PADDING_BYTES,
      },
    ],
    consumers: [],
    gateway: CAPS,
  },
  GLOBEX: {
    publishers: [],
    consumers: [
      { name: 'work', subscription: 'work', pattern: 'orders/**', group: false, workMs, ackWaitMs: ACK_WAIT_MS },
    ],
    gateway: CAPS,
  },
});

/**
 * A consumer that is a hundred times slower than its publisher: both gateways fill up to their caps and no further, the publisher is told
 * OUTBOX_FULL, and once the consumer is fast everything arrives.
 */
export async function slowConsumer(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, plan((1_000 / PER_SECOND) * TIMES_SLOWER));
  await world.begin();
  const refusals = (): number =>
    world.recording.events.filter(event => event.kind === 'refused' && event.reason === 'OUTBOX_FULL').length;
  await world.recording.until('OUTBOX_FULL', () => refusals() > 0, PROGRESS_MS * 2);
  for (let round = 0; round < rounds; round++) await world.passes('work', 3, PROGRESS_MS);
  const waiting = world.recording.undelivered('work', 'GLOBEX', ['orders/new']).length;
  await world.sides.GLOBEX.node?.kill();
  world.hurry('GLOBEX');
  await world.restartNode('GLOBEX');
  return conclude(world, settings, { maxDiskBytes: 64 * MIB }, () => ({ refused: refusals(), waiting }));
}
