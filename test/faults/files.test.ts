import test from 'ava';
import { filesUnderKills } from './scenarios/files.js';
import { prove } from './support/prove.js';

test('faults: kills of both clients and both gateways in the middle of a file cost no verified piece', t =>
  prove(t, filesUnderKills(64 * 1024 * 1024 + 5), { rounds: 4 }));
