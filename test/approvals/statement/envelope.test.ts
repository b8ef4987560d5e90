import test from 'ava';
import fc from 'fast-check';
import { envelopeToJson, MAX_ENVELOPE_BYTES, parseEnvelope } from '../../../src/approvals/statement/envelope.js';
import { pae } from '../../../src/approvals/statement/pae.js';
import type { Envelope } from '../../../src/approvals/types.js';
import { FedgateError } from '../../../src/errors.js';

const envelopes: fc.Arbitrary<Envelope> = fc.record({
  payloadType: fc.string({ minLength: 0, maxLength: 60 }),
  payload: fc.uint8Array({ minLength: 1, maxLength: 300 }).map(bytes => Buffer.from(bytes)),
  signatures: fc.array(
    fc.record({
      keyId: fc.string({ maxLength: 64 }),
      signature: fc.uint8Array({ minLength: 1, maxLength: 80 }).map(bytes => Buffer.from(bytes)),
    }),
    { minLength: 1, maxLength: 20 },
  ),
});

test('envelope: what is written is read again, in one line or many', t => {
  fc.assert(
    fc.property(envelopes, envelope => {
      const text = envelopeToJson(envelope);
      t.deepEqual(parseEnvelope(text), envelope);
      t.deepEqual(parseEnvelope(Buffer.from(JSON.stringify(JSON.parse(text), null, 2))), envelope);
    }),
    { numRuns: 300 },
  );
});

test('envelope: the pre-authentication encoding is that of the specification', t => {
  // The test vector of DSSE v1, protocol.md.
  t.is(
    pae('http://example.com/HelloWorld', Buffer.from('hello world')).toString(),
    'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
  );
  // Bytes are counted, not characters.
  t.is(pae('ä', Buffer.from('ö')).toString(), 'DSSEv1 2 ä 2 ö');
  t.is(pae('', Buffer.alloc(0)).toString(), 'DSSEv1 0  0 ');
});

test('envelope: unknown fields are left alone, as DSSE wants it; a key id may be missing', t => {
  const text = '{"signatures":[{"sig":"QQ","cert":"x"}],"extra":{"a":[1]},"payload":"e30=","payloadType":"t"}';
  t.deepEqual(parseEnvelope(text), {
    payloadType: 't',
    payload: Buffer.from('{}'),
    signatures: [{ keyId: '', signature: Buffer.from('A') }],
  });
});

test('attack 17: an envelope that is not exactly one is refused', t => {
  const whole = { payloadType: 't', payload: 'e30=', signatures: [{ keyid: 'a', sig: 'QQ==' }] };
  const lies: readonly unknown[] = [
    null,
    [],
    'x',
    {},
    { ...whole, payload: undefined },
    { ...whole, payload: 7 },
    { ...whole, payload: '' },
    { ...whole, payload: 'e30=\n' },
    { ...whole, payloadType: undefined },
    { ...whole, payloadType: 7 },
    { ...whole, signatures: undefined },
    { ...whole, signatures: [] },
    { ...whole, signatures: {} },
    { ...whole, signatures: [null] },
    { ...whole, signatures: ['QQ=='] },
    { ...whole, signatures: [{ keyid: 'a' }] },
    { ...whole, signatures: [{ keyid: 7, sig: 'QQ==' }] },
    { ...whole, signatures: [{ keyid: 'a', sig: '' }] },
    { ...whole, signatures: [{ keyid: 'a', sig: 'Q Q==' }] },
    { ...whole, signatures: [{ keyid: 'a'.repeat(2_000), sig: 'QQ==' }] },
    { ...whole, signatures: [{ keyid: 'a', sig: Buffer.alloc(2_000).toString('base64') }] },
    { ...whole, payload: Buffer.alloc(70_000).toString('base64') },
    { ...whole, signatures: Array(5_000).fill({ keyid: '', sig: 'QQ==' }) },
  ];
  for (const [i, lie] of lies.entries()) {
    const error = t.throws(() => parseEnvelope(JSON.stringify(lie)), { instanceOf: FedgateError }, String(i));
    t.is(error?.reason, 'BUNDLE_INVALID', String(i));
  }
  const texts = [
    '',
    'junk',
    `\ufeff${JSON.stringify(whole)}`,
    `${JSON.stringify(whole)}{}`,
    JSON.stringify(whole).replace('{', '{"payload":"e30=",'),
    ' '.repeat(MAX_ENVELOPE_BYTES + 1),
    '['.repeat(MAX_ENVELOPE_BYTES),
  ];
  for (const text of texts)
    t.is(t.throws(() => parseEnvelope(text), { instanceOf: FedgateError })?.reason, 'BUNDLE_INVALID');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), junk => {
      t.is(t.throws(() => parseEnvelope(junk), { instanceOf: FedgateError })?.reason, 'BUNDLE_INVALID');
    }),
  );
});
