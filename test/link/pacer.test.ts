import test from 'ava';
import { LiveMeter } from '../../src/link/live-meter.js';
import { BACKLOG_BYTES, Pacer } from '../../src/link/pacer.js';

const MIB = 1024 * 1024;

function scene() {
  const clock = { ms: 1_000 };
  const live = new LiveMeter(() => clock.ms);
  return { clock, live, pacer: new Pacer(live, () => clock.ms) };
}

test('pacer: a backlog waits for nobody while nothing live passes', t => {
  const { pacer } = scene();
  for (let i = 0; i < 100; i++) t.is(pacer.delayMs(MIB, 100 * MIB), 0);
});

test('pacer: beside live messages a backlog takes 2 MiB a second', t => {
  const { pacer, live } = scene();
  live.add(100);
  let last = 0;
  for (let i = 0; i < 5; i++) last = pacer.delayMs(MIB / 2, 100 * MIB);
  t.is(last, 1_000);
});

test('pacer: beside much live traffic a backlog takes eight times as much', t => {
  const { pacer, live } = scene();
  live.add(4 * MIB);
  let last = 0;
  for (let i = 0; i < 33; i++) last = pacer.delayMs(MIB, 100 * MIB);
  t.is(last, 1_000);
});

test('pacer: what is not far behind is never delayed, nor is a backlog a second after the last live message', t => {
  const { pacer, live, clock } = scene();
  live.add(100);
  for (let i = 0; i < 100; i++) t.is(pacer.delayMs(MIB, BACKLOG_BYTES), 0);
  clock.ms += 1_000;
  for (let i = 0; i < 100; i++) t.is(pacer.delayMs(MIB, 100 * MIB), 0);
});

test('live meter: tells the more of the last two seconds, and forgets', t => {
  const { live, clock } = scene();
  live.add(10);
  live.add(20);
  t.is(live.bytesPerSecond, 30);
  clock.ms += 1_000;
  live.add(5);
  t.is(live.bytesPerSecond, 30);
  clock.ms += 1_000;
  t.is(live.bytesPerSecond, 5);
  clock.ms += 5_000;
  t.is(live.bytesPerSecond, 0);
});
