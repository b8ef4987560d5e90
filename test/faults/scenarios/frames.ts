import { LANE } from '../../../src/link/hello.js';
import type { LogEvent } from '../../support/federation.js';
import { FrameProxy, type PassingFrame } from '../support/frame-proxy.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ATTACKS, type AttackKind } from '../support/tampering.js';
import { ORGS, otherOrg, World } from '../support/world.js';

/** Whoever dialled: batches of one side and their receipts are on the one, those of the other on the other. */
const DURABLE_LANES: ReadonlySet<number> = new Set([LANE.durable, LANE.durableBack]);

interface Case {
  readonly attack: AttackKind;
  readonly kind: 'batch' | 'receipt';
  /** What the victim is to say. */
  readonly reasons: readonly string[];
}

/** What is done to batches and receipts on their way, and what it is to be called. */
const CASES: readonly Case[] = [
  { attack: 'duplicate', kind: 'batch', reasons: ['REPLAYED'] },
  { attack: 'replay', kind: 'batch', reasons: ['REPLAYED'] },
  { attack: 'reorder', kind: 'batch', reasons: ['FRAME_UNEXPECTED'] },
  { attack: 'drop', kind: 'batch', reasons: ['FRAME_UNEXPECTED'] },
  { attack: 'duplicate', kind: 'receipt', reasons: ['RECEIPT_INVALID', 'WATERMARK_INVALID'] },
  { attack: 'replay', kind: 'receipt', reasons: ['RECEIPT_INVALID', 'WATERMARK_INVALID'] },
  { attack: 'reorder', kind: 'receipt', reasons: ['RECEIPT_INVALID', 'WATERMARK_INVALID'] },
  { attack: 'drop', kind: 'receipt', reasons: ['RECEIPT_INVALID', 'WATERMARK_INVALID'] },
];

/**
 * Somebody who holds the keys of both gateways duplicates, reorders, replays and drops durable frames. Each time the victim closes the
 * link with a reason and an alarm, makes it again, and nothing is lost or comes twice.
 */
export async function tamperedFrames(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  const proxies = await intrude(world, settings);
  await world.begin();
  await world.passes('work', 20, PROGRESS_MS);
  const alarms: string[] = [];
  for (let round = 0; round < rounds; round++)
    for (const each of CASES) alarms.push(await carryOut(each, world, proxies));
  return conclude(world, settings, {}, () => ({ alarms: alarms.length }));
}

/** Puts a proxy with stolen keys onto the way to each gateway: whoever dials, it is in between. */
async function intrude(world: World, { scope }: Settings): Promise<FrameProxy[]> {
  const proxies: FrameProxy[] = [];
  for (const org of ORGS) {
    const [dialled, dialler] = [org, otherOrg(org)].map(name => ({
      org: name,
      folder: world.sides[name].gateway.folder,
    }));
    const { wire } = world.sides[org];
    if (!dialled || !dialler) continue;
    const proxy = await FrameProxy.open(scope, { dialler, dialled, target: wire.target });
    wire.redirect(proxy.address);
    proxies.push(proxy);
  }
  return proxies;
}

/** One attack from beginning to end; gives the reason that the victim logged. */
async function carryOut(
  { attack, kind, reasons }: Case,
  world: World,
  proxies: readonly FrameProxy[],
): Promise<string> {
  const sender = world.random.pick(ORGS);
  const victim = kind === 'batch' ? otherOrg(sender) : sender;
  const from = kind === 'batch' ? sender : otherOrg(sender);
  const prey = (frame: PassingFrame): boolean =>
    DURABLE_LANES.has(frame.lane) && frame.from === from && frame.kind === kind;
  const { tamper, done } = ATTACKS[attack](prey, world.random.between(2, 6));
  const { gateway } = world.sides[victim];
  const before = gateway.events.length;
  const alarmed = gateway.logged(event => isAlarm(event, reasons), before);
  world.recording.note('fault', `${attack} of a ${kind} of ${sender}`);
  for (const proxy of proxies) proxy.tamper = tamper;
  await done;
  const alarm = await Promise.race([alarmed, world.quiet(PROGRESS_MS)]);
  world.recording.note('healed', `${attack} of a ${kind} of ${sender}`);
  if (!alarm) {
    const said = gateway.events.slice(before).map(event => JSON.stringify(event));
    throw new Error(
      `${attack} of a ${kind} of ${sender} raised no alarm ${reasons.join('/')} at ${victim}:\n${said.join('\n')}`,
    );
  }
  await world.passes('work', 5, PROGRESS_MS);
  return alarm.err?.reason ?? '';
}

const isAlarm = (event: LogEvent, reasons: readonly string[]): boolean =>
  event.security === true && reasons.includes(event.err?.reason ?? '');
