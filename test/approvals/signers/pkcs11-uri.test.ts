import test from 'ava';
import { parsePkcs11Uri } from '../../../src/approvals/signers/pkcs11-uri.js';
import { FedgateError } from '../../../src/errors.js';

const parse = (uri: string) => parsePkcs11Uri(uri, '--pkcs11');

test('pkcs11 URI: names module, token and key', t => {
  t.deepEqual(parse('pkcs11:token=My%20Token;id=%0A;type=private?module-path=/usr/lib/x.so'), {
    module: '/usr/lib/x.so',
    token: 'My Token',
    id: '0a',
  });
  t.deepEqual(parse('pkcs11:id=%01%ff?module-path=/x.so'), {
    module: '/x.so',
    token: undefined,
    id: '01ff',
  });
});

const bad: readonly (readonly [string, RegExp])[] = [
  ['', /not a PKCS#11 URI/],
  ['https://x?module-path=/x.so', /not a PKCS#11 URI/],
  ['pkcs11:id=a', /with a module/],
  ['pkcs11:object=alice?module-path=/x.so', /"object" is not known/],
  ['pkcs11:id=?module-path=/x.so', /no id/],
  ['pkcs11:id=a?module-path=x.so', /absolute/],
  ['pkcs11:token=a?module-path=/x.so', /no id/],
  ['pkcs11:id=a;id=b?module-path=/x.so', /twice/],
  ['pkcs11:id=a;colour=red?module-path=/x.so', /not known/],
  ['pkcs11:id=a;token?module-path=/x.so', /not known/],
  ['pkcs11:id=a%2?module-path=/x.so', /hexadecimal/],
  ['pkcs11:id=a%zz?module-path=/x.so', /hexadecimal/],
];

for (const [uri, pattern] of bad) {
  test(`pkcs11 URI: ${JSON.stringify(uri)} is refused`, t => {
    const error = t.throws(() => parse(uri), { instanceOf: FedgateError }) as FedgateError;
    t.regex(error.message, pattern);
    t.is(error.reason, 'FIELD_INVALID');
  });
}

test('pkcs11 URI: a PIN in it is refused, and not repeated', t => {
  for (const uri of [
    'pkcs11:id=a?module-path=/x.so&pin-value=54321',
    'pkcs11:id=a?pin-value=54321&module-path=/x.so',
    'pkcs11:id=a?module-path=/x.so&pin-source=/54321',
    'pkcs11:pin-value=54321;id=a?module-path=/x.so',
  ]) {
    const error = t.throws(() => parse(uri), { instanceOf: FedgateError }) as FedgateError;
    t.regex(error.message, /PIN does not belong here/);
    t.notRegex(error.message, /54321/);
  }
});
