import test from 'ava';
import { damagedDatabase, damagedLog, damagedOutbox } from './scenarios/damage.js';
import { prove } from './support/prove.js';

test.serial('faults: bits flipped in the log are noticed, and what they hit is fetched again', t =>
  prove(t, settings => damagedLog(settings, 'flip'), { rounds: 1 }),
);

test.serial('faults: a log that was cut short is noticed, and what it lost is fetched again', t =>
  prove(t, settings => damagedLog(settings, 'truncate'), { rounds: 1 }),
);

test.serial('faults: bits flipped in an outbox are told to the receiver', t =>
  prove(t, settings => damagedOutbox(settings, 'flip'), { rounds: 1 }),
);

test.serial('faults: an outbox that was cut short is told to the receiver', t =>
  prove(t, settings => damagedOutbox(settings, 'truncate'), { rounds: 1 }),
);

test.serial('faults: a damaged database is refused with a reason, or is in no use', t =>
  prove(t, damagedDatabase, { rounds: 2 }),
);
