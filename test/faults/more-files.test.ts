import test from 'ava';
import { filesUnderKills } from './scenarios/files.js';
import { prove } from './support/prove.js';

test('faults: ten kills of clients and gateways in the middle of a larger file cost no verified piece', t =>
  prove(t, filesUnderKills(200 * 1024 * 1024), { rounds: 10 }));
