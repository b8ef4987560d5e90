import test from 'ava';
import { restoredReceiver, restoredSender } from './scenarios/backup.js';
import { prove } from './support/prove.js';

test.serial('faults: an old backup restored at the sender repeats nothing and skips nothing', t =>
  prove(t, restoredSender, { rounds: 1 }),
);

test.serial('faults: an old backup restored at the receiver is told to consumers, and goes on', t =>
  prove(t, restoredReceiver, { rounds: 1 }),
);
