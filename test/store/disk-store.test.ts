import test from 'ava';
import { Change } from '../../src/store/store.js';
import { storeContract } from './contract.js';
import { bodyOf, opened, sha256, storeBody, storeFolder, writeBody } from './support.js';

storeContract(test, async t => opened(t, await storeFolder(t), { segmentBytes: 200_000 }));

test('open: finds all again, in a new segment for what comes', async t => {
  const folder = await storeFolder(t);
  const first = await opened(t, folder);
  const body = bodyOf(1, 5000);
  const change = new Change().put('rows', Buffer.from('a'), Buffer.from('1'));
  const ref = writeBody(first, change, 'inbox', body);
  await first.commit(change);
  await first.close();
  const second = await opened(t, folder);
  t.deepEqual(second.id, first.id);
  t.is(second.id.length, 16);
  t.is(second.restoredMs, 0);
  t.deepEqual(await second.get('rows', Buffer.from('a')), Buffer.from('1'));
  t.true((await second.read(ref, sha256(body))).equals(body));
  const later = await storeBody(second, 'inbox', body);
  t.true(later.segment > ref.segment);
  t.is((await second.stats()).bodyBytes.get('inbox'), 10_000);
});
