import test from 'ava';
import { killedAnything } from './scenarios/kills.js';
import { prove } from './support/prove.js';

test('faults: fifty kills of gateways, publishers and consumers at random instants lose nothing and repeat nothing', t =>
  prove(t, killedAnything, { rounds: 50 }));
