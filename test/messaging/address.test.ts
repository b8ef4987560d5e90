import test from 'ava';
import fc from 'fast-check';
import { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { formatAddress, parseAddress, parseChannel, parsePattern } from '../../src/messaging/address.js';

const ACME = 'ACME' as OrgName;

test('address: a bare channel is in the own organisation, a full address where it says', t => {
  t.deepEqual(parseAddress('orders/created', ACME), { org: 'ACME' as OrgName, channel: 'orders/created' });
  t.deepEqual(parseAddress('pubsub://GLOBEX/a', ACME), { org: 'GLOBEX' as OrgName, channel: 'a' });
  t.is(formatAddress(parseAddress('pubsub://GLOBEX/a/b', ACME)), 'pubsub://GLOBEX/a/b');
});

test('address: the inbox of a node is a channel of one segment that begins with @', t => {
  t.deepEqual(parseAddress('@erp', ACME), { org: 'ACME' as OrgName, channel: '@erp' });
  t.deepEqual(parseAddress('pubsub://GLOBEX/@erp-2', ACME), { org: 'GLOBEX' as OrgName, channel: '@erp-2' });
  for (const text of ['@', '@Erp', '@erp/x', 'x/@erp', '@*', '@**', '@-x', '@$x', '@erp.', `@${'a'.repeat(64)}`]) {
    const refused = t.throws<FedgateError>(() => parseChannel(text), { instanceOf: FedgateError }, text);
    t.is(refused?.reason, 'FIELD_INVALID', text);
  }
});

test('pattern: every inbox is meant only where inboxes may be, and never read by one subscription', t => {
  t.deepEqual(parsePattern('@erp').segments, ['@erp']);
  t.throws(() => parsePattern('@*'), { instanceOf: FedgateError, message: /nobody reads more than their own/ });
  t.notThrows(() => parsePattern('@*', 'publish', { inboxes: true }));
  for (const text of ['@**', '@*/x', '*/@erp', '@erp/**'])
    t.throws(() => parsePattern(text, 'publish', { inboxes: true }), { instanceOf: FedgateError }, text);
});

test('address: sixteen segments of 64 characters are too long by bytes, sixteen short ones are not', t => {
  t.notThrows(() => parseChannel(Array(16).fill('a').join('/')));
  t.throws(() => parseChannel(Array(17).fill('a').join('/')), { instanceOf: FedgateError });
  t.throws(() => parseChannel(Array(16).fill('a'.repeat(64)).join('/')), { instanceOf: FedgateError });
  t.notThrows(() => parseChannel('a'.repeat(64)));
});

test('address: any text is either refused with a reason or a channel that means itself', t => {
  const part = fc.oneof(
    fc.constantFrom('a', 'B', '0', '.', '_', '-', '/', '*', '$', '@', '\u0000', '\u043e', 'pubsub://'),
    fc.string(),
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(part, { maxLength: 12 }).map(parts => parts.join('')),
  );
  fc.assert(
    fc.property(text, each => {
      for (const parse of [(s: string) => parseAddress(s, ACME), parsePattern]) {
        try {
          const parsed = parse(each);
          const channel = 'channel' in parsed ? parsed.channel : parsed.text;
          if (/^@[a-z0-9][a-z0-9-]{0,62}$/.test(channel)) continue;
          if (!/^[A-Za-z0-9*][A-Za-z0-9._*-]*(\/[A-Za-z0-9*][A-Za-z0-9._*-]*)*$/.test(channel)) return false;
        } catch (error) {
          if (!(error instanceof FedgateError) || error.reason === 'INTERNAL') return false;
        }
      }
      return true;
    }),
    { numRuns: 5_000 },
  );
  t.pass();
});
