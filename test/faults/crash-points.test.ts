import test from 'ava';
import { CRASH_POINTS, crashPoints, diesAfterAck } from './scenarios/crash-points.js';
import { prove } from './support/prove.js';

test.serial(`faults: a gateway that dies at any of ${CRASH_POINTS.join(', ')} loses nothing and repeats nothing`, t =>
  prove(t, crashPoints, { rounds: 1 }),
);

test.serial('faults: a consumer that dies between acknowledging and hearing of it gets each message, marked', t =>
  prove(t, diesAfterAck, { rounds: 6 }),
);
