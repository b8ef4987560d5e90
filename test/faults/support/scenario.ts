import type { TestScope } from '../../support/registry.js';
import { check, type Rules, type Violation } from './checker.js';
import type { RecordedEvent } from './events.js';
import { type Random, seededRandom } from './random.js';
import type { OrgPlan, World, WorldPlan } from './world.js';

/** How much of a scenario is run: a little in every test run, much when somebody soaks it. */
export interface Scale {
  /** How many kills, or repetitions of another fault. */
  readonly rounds: number;
  /** How long a process is stopped. */
  readonly stopMs: number;
  /** The most memory that a gateway may have taken. */
  readonly maxResidentBytes: number;
}

const MIB = 1024 * 1024;
/** Allocators of machines differ: the promise (300 MiB) is asserted where it is measured at leisure. */
export const SHORT: Omit<Scale, 'rounds'> = { stopMs: 3_000, maxResidentBytes: 450 * MIB };
export const LONG: Omit<Scale, 'rounds'> = { stopMs: 30_000, maxResidentBytes: 300 * MIB };

/**
 * How soon something must pass again after healing. The promise is 3 s on a machine that has nothing else to do; these scenarios run
 * beside others on machines that have.
 */
export const PROGRESS_MS = 30_000;

/** That something was delivered is stored a tenth of a second later; a busy disk and a busy machine take longer. */
const UNMARKED_MS = 2_000;

export interface Settings extends Scale {
  readonly scope: TestScope;
  readonly random: Random;
  readonly log: (line: string) => void;
}

export interface Outcome {
  readonly violations: readonly Violation[];
  readonly kills: number;
  readonly events: readonly RecordedEvent[];
  /** What else is worth a column: for people. */
  readonly facts: Readonly<Record<string, string | number>>;
}

export type Scenario = (settings: Settings) => Promise<Outcome>;

export const settingsFor = (scope: TestScope, seed: number, scale: Scale, log: (line: string) => void): Settings => ({
  scope,
  random: seededRandom(seed),
  log,
  ...scale,
});

/** Every ack level, both kinds of idempotency, both kinds of subscription, both directions; light enough for a busy machine. */
export function usualLoad(
  gateway: { readonly [org in keyof WorldPlan]?: OrgPlan['gateway'] } = {},
  window = 8,
): WorldPlan {
  const to = { to: 'GLOBEX', window: 1, idempotency: 'id' as const };
  const consumer = { subscription: 'team', pattern: 'orders/**', group: true };
  return {
    ACME: {
      publishers: [
        {
          ...to,
          name: 'stored',
          channel: 'orders/stored',
          level: 'stored',
          perSecond: 60,
          window,
          idempotency: 'producer',
          // Large enough for segment files.
          paddingBytes: 2_000,
        },
        { ...to, name: 'received', channel: 'orders/received', level: 'received', perSecond: 40, keys: 5 },
        { ...to, name: 'consumed', channel: 'orders/consumed', level: 'consumed', perSecond: 20 },
      ],
      consumers: [{ name: 'books', subscription: 'books', pattern: 'invoices/**', group: false }],
      ...(gateway.ACME ? { gateway: gateway.ACME } : {}),
    },
    GLOBEX: {
      publishers: [
        {
          ...to,
          name: 'back',
          to: 'ACME',
          channel: 'invoices/back',
          level: 'received',
          perSecond: 30,
          paddingBytes: 2_000,
        },
      ],
      consumers: [
        { name: 'work', subscription: 'work', pattern: 'orders/**', group: false },
        { ...consumer, name: 'team1' },
        { ...consumer, name: 'team2' },
      ],
      ...(gateway.GLOBEX ? { gateway: gateway.GLOBEX } : {}),
    },
  };
}

/** Ends the load, waits for what is on its way, and judges everything. */
export async function conclude(
  world: World,
  { maxResidentBytes }: Settings,
  rules: Partial<Rules> = {},
  facts: () => Outcome['facts'] = () => ({}),
): Promise<Outcome> {
  await world.finish(PROGRESS_MS);
  const { events } = world.recording;
  const violations = check(events, {
    subscriptions: world.subscriptions(),
    maxResidentBytes,
    progressMs: PROGRESS_MS,
    unmarkedMs: UNMARKED_MS,
    ...rules,
  });
  const peak = Math.max(0, ...events.map(event => (event.kind === 'resources' ? event.peakResidentBytes : 0)));
  return {
    violations,
    kills: world.kills,
    events,
    facts: { acked: world.recording.ackedCount, peakMiB: Math.round(peak / MIB), ...facts() },
  };
}
