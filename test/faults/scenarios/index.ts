import type { Scenario } from '../support/scenario.js';
import { restoredReceiver, restoredSender } from './backup.js';
import { clockSteps } from './clock.js';
import { crashPoints, diesAfterAck } from './crash-points.js';
import { damagedDatabase, damagedLog, damagedOutbox } from './damage.js';
import { diskFull, diskReadOnly } from './disk.js';
import { filesUnderKills } from './files.js';
import { tamperedFrames } from './frames.js';
import { killedAnything, killedGateways, killedNodes, killedTogether } from './kills.js';
import { mixedFaults } from './mixed.js';
import { cutLink, flapping, halfOpen, oneWay, slowAndLossy, stopped } from './network.js';
import { backSoon } from './quiet.js';
import { slowConsumer } from './slow-consumer.js';

/** A scenario as it is run when somebody soaks: how many rounds make one run of a few minutes at most. */
export interface SoakedScenario {
  readonly name: string;
  readonly run: Scenario;
  readonly rounds: number;
  /** Whether it is run again until there have been as many kills as were asked for. */
  readonly kills?: boolean;
}

export const SCENARIOS: readonly SoakedScenario[] = [
  { name: 'kill gateways', run: killedGateways, rounds: 60, kills: true },
  { name: 'kill nodes', run: killedNodes, rounds: 40, kills: true },
  { name: 'kill anything', run: killedAnything, rounds: 60, kills: true },
  { name: 'kill both gateways', run: killedTogether, rounds: 20, kills: true },
  { name: 'crash points', run: crashPoints, rounds: 4 },
  { name: 'die after ack', run: diesAfterAck, rounds: 30 },
  { name: 'link cut', run: cutLink, rounds: 10 },
  { name: 'link half-open', run: halfOpen, rounds: 10 },
  { name: 'link one-way', run: oneWay, rounds: 10 },
  { name: 'link flapping', run: flapping, rounds: 5 },
  { name: 'link slow and lossy', run: slowAndLossy, rounds: 20 },
  { name: 'gateway stopped', run: stopped, rounds: 4 },
  { name: 'frames tampered', run: tamperedFrames, rounds: 5 },
  { name: 'sender disk full', run: settings => diskFull(settings, 'ACME'), rounds: 6 },
  { name: 'receiver disk full', run: settings => diskFull(settings, 'GLOBEX'), rounds: 6 },
  { name: 'sender disk read-only', run: settings => diskReadOnly(settings, 'ACME'), rounds: 1 },
  { name: 'receiver disk read-only', run: settings => diskReadOnly(settings, 'GLOBEX'), rounds: 1 },
  { name: 'log bits flipped', run: settings => damagedLog(settings, 'flip'), rounds: 4 },
  { name: 'log cut short', run: settings => damagedLog(settings, 'truncate'), rounds: 4 },
  { name: 'outbox bits flipped', run: settings => damagedOutbox(settings, 'flip'), rounds: 4 },
  { name: 'outbox cut short', run: settings => damagedOutbox(settings, 'truncate'), rounds: 4 },
  { name: 'database damaged', run: damagedDatabase, rounds: 10 },
  { name: 'clocks jump', run: clockSteps, rounds: 15 },
  { name: 'sender restored', run: restoredSender, rounds: 4 },
  { name: 'receiver restored', run: restoredReceiver, rounds: 4 },
  { name: 'consumer too slow', run: slowConsumer, rounds: 10 },
  { name: 'back soon', run: backSoon, rounds: 4 },
  { name: 'files under kills', run: filesUnderKills(5_000_000_000), rounds: 10 },
  { name: 'all mixed', run: mixedFaults, rounds: 60 },
];
