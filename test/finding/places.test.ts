import test from 'ava';
import fc from 'fast-check';
import { isLocalPlace, MAX_ADDRESSES_OF_HOST, placesOf } from '../../src/finding/places.js';

test('places: what is on this machine or this wire alone is told from what is not', t => {
  const local = [
    '127.0.0.1',
    '127.255.0.3',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.251',
    '255.255.255.255',
    '::',
    '::1',
    '0:0:0:0:0:0:0:1',
    'fe80::1',
    'ff02::fb',
    '::ffff:127.0.0.1',
    '::FFFF:169.254.169.254',
    '::ffff:7f00:1',
    '::7f00:1',
    'localhost',
    '',
  ];
  t.deepEqual(
    local.filter(ip => !isLocalPlace(ip)),
    [],
  );
  const far = ['10.1.2.3', '192.168.1.1', '203.0.113.7', '2001:db8::1', 'fd00::1', '::ffff:203.0.113.7'];
  t.deepEqual(
    far.filter(ip => isLocalPlace(ip)),
    [],
  );
});

test('places: every IPv4 address is judged the same when it is written as an IPv6 one', t => {
  fc.assert(
    fc.property(fc.ipV4(), ip => t.is(isLocalPlace(`::ffff:${ip}`), isLocalPlace(ip))),
    { numRuns: 300 },
  );
});

test('places: a host name is looked up once, and what is judged is what is dialled', async t => {
  const lookUp = async (): Promise<string[]> => ['127.0.0.1', '203.0.113.1', 'nonsense', '2001:db8::1', '203.0.113.9'];
  const hint = { gateway: 'gw1', address: 'gw.example:7411' };
  t.deepEqual(await placesOf(hint, { local: false, lookUp }), [
    { gateway: 'gw1', address: '203.0.113.1:7411' },
    { gateway: 'gw1', address: '[2001:db8::1]:7411' },
  ]);
  t.true((await placesOf(hint, { local: true, lookUp })).length < MAX_ADDRESSES_OF_HOST);
  t.deepEqual(await placesOf({ address: '127.0.0.1:1' }, { local: false, lookUp }), []);
  await t.throwsAsync(placesOf({ address: 'no address' }, { local: true }), { message: /is not an address/ });
});
