import test from 'ava';
import { mixedFaults } from './scenarios/mixed.js';
import { prove } from './support/prove.js';

test('faults: all kinds mixed at random', t => prove(t, mixedFaults, { rounds: 20 }));
