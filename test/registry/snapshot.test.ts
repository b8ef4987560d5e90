import test from 'ava';
import fc from 'fast-check';
import { type SignedSnapshot, Snapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError, type Reason } from '../../src/errors.js';
import { createAuthority } from '../../src/identity/issue.js';
import { type AcceptedSnapshot, acceptSnapshot } from '../../src/registry/snapshot.js';
import { FEDERATION } from '../support/registry.js';
import { LIFETIME_MS, makeOrg, makeSigningRegistry, member, START_MS } from '../support/snapshots.js';

const acme = await makeOrg('ACME');
const globex = await makeOrg('GLOBEX');
const newAuthority = await createAuthority(FEDERATION, 'ACME');
const registry = makeSigningRegistry();
const records = { acme: acme.record(), globex: globex.record() };
const members = [member(acme, records.acme), member(globex, records.globex)];
const rules = { federation: FEDERATION, snapshotKey: registry.snapshotKey, nowMs: START_MS };

const accept = (previous: AcceptedSnapshot | undefined, signed: SignedSnapshot, nowMs = START_MS) =>
  acceptSnapshot(previous, signed, { ...rules, nowMs });
const first = accept(undefined, registry.sign(5n, members));

test('snapshot: a good one is taken; a newer one takes its place', t => {
  t.is(first.version, 5n);
  t.deepEqual([...first.members.keys()], ['ACME', 'GLOBEX']);
  const second = accept(
    first,
    registry.sign(6n, [member(acme, records.acme), member(globex, records.globex, 'suspended')]),
  );
  t.is(second.members.get('GLOBEX')?.state, 'suspended');
});

test('snapshot: what did not change stays the same object', t => {
  const second = accept(
    first,
    registry.sign(6n, [member(acme, records.acme), member(globex, globex.record({ sequence: 2n }))]),
  );
  t.is(second.members.get('ACME'), first.members.get('ACME'));
  t.not(second.members.get('GLOBEX')?.profile, first.members.get('GLOBEX')?.profile);
});

test('snapshot: the very same again changes nothing, also when it was signed again', t => {
  t.is(accept(first, first.signed), first);
  t.is(accept(first, registry.sign(5n, members)), first);
});

test('snapshot: a state that is not known counts as suspended', t => {
  const unknown = { ...member(acme, records.acme), state: 9 as never };
  t.is(accept(undefined, registry.sign(1n, [unknown])).members.get('ACME')?.state, 'suspended');
});

const stranger = makeSigningRegistry();
const hijacked = acme.record({ sequence: 2n, authorities: [newAuthority.certificate] }, newAuthority);
const good = registry.sign(6n, members);
const refused: readonly (readonly [string, Reason, SignedSnapshot, number?])[] = [
  ['an older version', 'SNAPSHOT_STALE', registry.sign(4n, members)],
  [
    'the same version with other content',
    'SNAPSHOT_FORKED',
    registry.sign(5n, [member(acme, records.acme), member(globex, records.globex, 'removed')]),
  ],
  ['an end in the past', 'SNAPSHOT_EXPIRED', good, START_MS + LIFETIME_MS],
  ['the signature of another key', 'SNAPSHOT_INVALID', stranger.sign(6n, members)],
  ['no signature', 'SNAPSHOT_INVALID', { ...good, signature: new Uint8Array() }],
  ['changed bytes', 'SNAPSHOT_INVALID', { ...good, snapshot: Buffer.concat([good.snapshot, Buffer.from([0x10, 9])]) }],
  ['another federation', 'FEDERATION_MISMATCH', registry.sign(6n, [], { federation: 'other.example' })],
  ['a member gone', 'SNAPSHOT_INVALID', registry.sign(6n, [member(acme, records.acme)])],
  ['members out of order', 'SNAPSHOT_INVALID', registry.sign(6n, [...members].reverse())],
  ['a member twice', 'SNAPSHOT_INVALID', registry.sign(6n, [member(acme, records.acme), ...members])],
  [
    'a member without record',
    'SNAPSHOT_INVALID',
    registry.sign(6n, [{ org: 'ACME', state: 1, record: undefined }, ...members.slice(1)]),
  ],
  [
    "a record under another's name",
    'SNAPSHOT_INVALID',
    registry.sign(6n, [member(acme, records.globex), member(globex, records.globex)]),
  ],
  [
    'a CA that its member did not hand over to',
    'SNAPSHOT_INVALID',
    registry.sign(6n, [member(acme, hijacked), member(globex, records.globex)]),
  ],
  [
    'a record changed under its sequence',
    'SNAPSHOT_INVALID',
    registry.sign(6n, [member(acme, acme.record({ timeMs: 2 })), member(globex, records.globex)]),
  ],
  [
    'a record that the member did not sign',
    'SNAPSHOT_INVALID',
    registry.sign(6n, [member(acme, acme.record({ sequence: 2n }, globex.authority)), member(globex, records.globex)]),
  ],
];

for (const [what, reason, signed, nowMs] of refused) {
  test(`snapshot: refused with ${what}`, t => {
    const error = t.throws(() => accept(first, signed, nowMs), { instanceOf: FedgateError }) as FedgateError;
    t.is(error.reason, reason, error.message);
  });
}

test('snapshot: an older record of a member is refused', t => {
  const newer = accept(
    first,
    registry.sign(6n, [member(acme, acme.record({ sequence: 2n })), member(globex, records.globex)]),
  );
  const error = t.throws(() => accept(newer, registry.sign(7n, members)), { instanceOf: FedgateError }) as FedgateError;
  t.is(error.reason, 'SNAPSHOT_INVALID');
});

test('snapshot: who was removed does not come back', t => {
  const removed = accept(
    first,
    registry.sign(6n, [member(acme, records.acme), member(globex, records.globex, 'removed')]),
  );
  for (const state of ['active', 'suspended'] as const) {
    const back = registry.sign(7n, [member(acme, records.acme), member(globex, records.globex, state)]);
    const error = t.throws(() => accept(removed, back), { instanceOf: FedgateError }) as FedgateError;
    t.is(error.reason, 'SNAPSHOT_INVALID');
  }
});

test('snapshot: no bytes make it throw anything but a FedgateError', t => {
  // Bytes that are signed get past the signature, so that what reads them is tried too.
  const content = Buffer.from(good.snapshot);
  const mangled = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.nat(content.length).map(length => content.subarray(0, length)),
    fc.tuple(fc.nat(content.length - 1), fc.integer({ min: 0, max: 255 })).map(([at, byte]) => {
      const copy = Buffer.from(content);
      copy[at] = byte;
      return copy;
    }),
  );
  fc.assert(
    fc.property(mangled, fc.boolean(), (snapshot, sign) => {
      const signature = sign ? registry.signBytes(snapshot) : good.signature;
      try {
        accept(first, { snapshot, signature });
      } catch (error) {
        return error instanceof FedgateError;
      }
      return true;
    }),
    { numRuns: 500 },
  );
  t.notThrows(() => Snapshot.decode(good.snapshot));
});
