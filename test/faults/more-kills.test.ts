import test from 'ava';
import { killedGateways, killedNodes, killedTogether } from './scenarios/kills.js';
import { prove } from './support/prove.js';

test.serial('faults: kill -9 of gateways at random instants loses nothing and repeats nothing', t =>
  prove(t, killedGateways, { rounds: 20 }),
);

test.serial('faults: kill -9 of publishers and consumers at random instants loses nothing and repeats nothing', t =>
  prove(t, killedNodes, { rounds: 20 }),
);

test.serial('faults: kill -9 of both gateways in the same instant loses nothing and repeats nothing', t =>
  prove(t, killedTogether, { rounds: 5 }),
);
