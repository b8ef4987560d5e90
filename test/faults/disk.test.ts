import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { temporaryFolder } from '../support/registry.js';
import { diskFull, diskReadOnly } from './scenarios/disk.js';
import { SmallDisk } from './support/mounts.js';
import { prove } from './support/prove.js';
import type { Scenario } from './support/scenario.js';

/** Where no disk can be mounted there is nothing to prove, and the log says why. */
async function proveOnDisk(t: ExecutionContext, scenario: Scenario, rounds: number): Promise<void> {
  const why = await SmallDisk.unavailable(t, join(await temporaryFolder(t), 'probe'));
  if (why === undefined) return prove(t, scenario, { rounds });
  t.log(`not run: ${why}`);
  t.pass();
}

test.serial('faults: the disk of the sender fills up', t => proveOnDisk(t, settings => diskFull(settings, 'ACME'), 2));

test.serial('faults: the disk of the receiver fills up', t =>
  proveOnDisk(t, settings => diskFull(settings, 'GLOBEX'), 2),
);

test.serial('faults: the disk of the sender becomes read-only', t =>
  proveOnDisk(t, settings => diskReadOnly(settings, 'ACME'), 1),
);

test.serial('faults: the disk of the receiver becomes read-only', t =>
  proveOnDisk(t, settings => diskReadOnly(settings, 'GLOBEX'), 1),
);
