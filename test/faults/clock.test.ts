import test from 'ava';
import { clockSteps } from './scenarios/clock.js';
import { prove } from './support/prove.js';

test('faults: clocks that jump lose nothing and repeat nothing', t => prove(t, clockSteps, { rounds: 4 }));
