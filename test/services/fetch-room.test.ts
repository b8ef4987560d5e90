import test from 'ava';
import { FetchRoom, MAX_UNFLUSHED, MAX_UNFLUSHED_TOGETHER, SMALL_FRAME_BYTES } from '../../src/services/fetch-room.js';

test('room of fetches: few have frames to spare, many share what there is, each has one', t => {
  const room = new FetchRoom();
  const ends: (() => void)[] = [];
  for (let calls = 1; calls <= 200; calls++) {
    ends.push(room.enter());
    t.true(room.framesEach >= 1 && room.framesEach <= MAX_UNFLUSHED);
    if (calls <= MAX_UNFLUSHED_TOGETHER) t.true(room.framesEach * calls <= MAX_UNFLUSHED_TOGETHER);
  }
  t.is(room.framesEach, 1);
  t.is(room.frameBytes(1_000_000), SMALL_FRAME_BYTES);
  t.is(room.frameBytes(5), 5);
  for (const end of ends.splice(8)) end();
  t.is(room.frameBytes(1_000_000), 1_000_000);
  for (const end of ends.splice(4)) end();
  t.is(room.framesEach, MAX_UNFLUSHED);
});
