import { randomBytes } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { FedgateError } from '../../src/errors.js';
import { parseOrgName } from '../../src/identity/names.js';
import { decodeInvitation, encodeInvitation, type Invitation } from '../../src/registry/invitation.js';

const invitation: Invitation = {
  federation: 'fed.example',
  org: parseOrgName('ACME', 'org'),
  addresses: ['registry.fed.example:7400', '[2001:db8::1]:7400'],
  fingerprint: randomBytes(32),
  secret: randomBytes(16),
  expireTimeMs: 1_800_000_000_000,
};
const code = encodeInvitation(invitation);

const malformed = { instanceOf: FedgateError, message: /^not an invitation code: / };

test('invitation: what went in comes out', t => {
  t.deepEqual(decodeInvitation(code), invitation);
});

test('invitation: white space of pasting does not count', t => {
  const pasted = `\n  ${code.slice(0, 40)}\r\n\t${code.slice(40)} \n`;
  t.deepEqual(decodeInvitation(pasted), invitation);
});

test('invitation: cut off anywhere, it says that it was cut off', t => {
  for (let length = 'fedgate1-'.length; length < code.length; length++) {
    const error = t.throws(() => decodeInvitation(code.slice(0, length)), malformed) as FedgateError;
    t.is(error.reason, 'INVITATION_MALFORMED');
    t.regex(error.message, /cut off or mistyped/);
  }
});

test('invitation: any mistyped character is noticed', t => {
  for (let at = 'fedgate1-'.length; at < code.length - 1; at++) {
    const other = code[at] === 'A' ? 'B' : 'A';
    t.throws(() => decodeInvitation(code.slice(0, at) + other + code.slice(at + 1)), malformed);
  }
});

test('invitation: other text is told what is missing', t => {
  t.throws(() => decodeInvitation(''), { message: /does not begin with fedgate1-/ });
  t.throws(() => decodeInvitation('CODE'), { message: /does not begin with fedgate1-/ });
  t.throws(() => decodeInvitation(`${code}!`), { message: /characters that no code has/ });
  t.throws(() => decodeInvitation(' '.repeat(100_000)), { message: /far too long/ });
});

test('invitation: a whole code with bad content is refused, and never quoted', t => {
  const bad: readonly Partial<Record<keyof Invitation, unknown>>[] = [
    { org: 'acme' },
    { org: 'REGISTRY' },
    { federation: 'Not A Domain' },
    { addresses: [] },
    { addresses: ['no port'] },
    { fingerprint: randomBytes(31) },
    { secret: randomBytes(15) },
    { expireTimeMs: -1 },
  ];
  for (const change of bad) {
    const text = encodeInvitation({ ...invitation, ...change } as Invitation);
    const error = t.throws(() => decodeInvitation(text), malformed, JSON.stringify(change));
    t.false(error?.message.includes(text.slice(20, 60)));
  }
});

test('invitation: no text makes it throw anything but INVITATION_MALFORMED', t => {
  const text = fc.oneof(
    fc.string(),
    fc.base64String().map(s => `fedgate1-${s}`),
    fc.json().map(json => `fedgate1-${Buffer.from(json).toString('base64url')}`),
  );
  fc.assert(
    fc.property(text, candidate => {
      const error = t.throws(() => decodeInvitation(candidate), { instanceOf: FedgateError }) as FedgateError;
      return error.reason === 'INVITATION_MALFORMED';
    }),
  );
  t.pass();
});
