import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { formatShareId, parseShareId } from '../../src/files/share-id.js';

const ID = '00112233445566778899aabbccddeeff';

test('share id: read and written again it is the same', t => {
  const text = `share://ACME/${ID}`;
  const ref = parseShareId(text, 'share_id');
  t.is(String(ref.org), 'ACME');
  t.is(ref.id.toString('hex'), ID);
  t.is(formatShareId(ref), text);
});

for (const text of [
  '',
  ID,
  `share://ACME/${ID.toUpperCase()}`,
  `share://ACME/${ID.slice(1)}`,
  `share://ACME/${ID}0`,
  `share://ACME/${ID}/x`,
  `share://ACME/../${ID}`,
  `share://ACME/..%2f${ID.slice(5)}`,
  `share://ACME/${ID.slice(2)}%2`,
  `share://ACME/${ID.slice(1)}\0`,
  `share://ACME/${ID}\n`,
  `share://acme/${ID}`,
  `share://A/${ID}`,
  `share:///${ID}`,
  `share://ACME//${ID}`,
  `SHARE://ACME/${ID}`,
  ` share://ACME/${ID}`,
  `pubsub://ACME/${ID}`,
  `share://ACME/${ID}?x=1`,
]) {
  test(`share id: ${JSON.stringify(text)} is none`, t => {
    const error = t.throws<FedgateError>(() => parseShareId(text, 'share_id'));
    t.is(error?.reason, 'FIELD_INVALID');
    t.is(error?.fields[0]?.field, 'share_id');
  });
}
