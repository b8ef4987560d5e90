import test from 'ava';
import { cutLink, flapping, halfOpen, oneWay, slowAndLossy, stopped } from './scenarios/network.js';
import { prove } from './support/prove.js';

test.serial('faults: a link that is cut', t => prove(t, cutLink, { rounds: 2 }));
test.serial('faults: a link that is half-open', t => prove(t, halfOpen, { rounds: 2 }));
test.serial('faults: a link that carries one way only', t => prove(t, oneWay, { rounds: 2 }));
test.serial('faults: a link that flaps', t => prove(t, flapping, { rounds: 1 }));
test.serial('faults: a link with 100 ms there and back, and loss', t => prove(t, slowAndLossy, { rounds: 2 }));
test.serial('faults: a gateway that is stopped for a while', t => prove(t, stopped, { rounds: 2 }));
