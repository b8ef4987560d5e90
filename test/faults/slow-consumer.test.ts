import test from 'ava';
import { slowConsumer } from './scenarios/slow-consumer.js';
import { prove } from './support/prove.js';

test('faults: a consumer a hundred times too slow fills everything up to its cap and loses nothing', t =>
  prove(t, slowConsumer, { rounds: 1 }));
