import test from 'ava';
import { tamperedFrames } from './scenarios/frames.js';
import { prove } from './support/prove.js';

test('faults: frames duplicated, reordered, replayed and dropped by somebody with the keys of both', t =>
  prove(t, tamperedFrames, { rounds: 1 }));
