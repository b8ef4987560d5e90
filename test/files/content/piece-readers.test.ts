import test from 'ava';
import { PieceReaders } from '../../../src/files/content/piece-readers.js';

const digest = (i: number): Buffer => Buffer.alloc(32, i);

test('readers: a piece is read again from the second time on', t => {
  const readers = new PieceReaders();
  t.false(readers.again(digest(1)));
  t.false(readers.again(digest(2)));
  t.true(readers.again(digest(1)));
  t.true(readers.again(digest(1)));
});

test('readers: those that were not read for the longest are forgotten', t => {
  const readers = new PieceReaders(2);
  readers.again(digest(1));
  readers.again(digest(2));
  readers.again(digest(1));
  readers.again(digest(3));
  t.true(readers.again(digest(1)));
  t.false(readers.again(digest(2)));
});
