import test from 'ava';
import fc from 'fast-check';
import type { FedgateError } from '../../src/errors.js';
import { formatGroupRef, type OrgName, parseGroupRef } from '../../src/identity/names.js';
import { consentTo, removeGroup, setGroup, withdrawFrom } from '../../src/registry/group-changes.js';
import { groupMembers } from '../../src/registry/group-members.js';
import { checkNewRecord, readRecord } from '../../src/registry/record.js';
import { MAX_CONSENTS, MAX_GROUPS, readGroups } from '../../src/registry/record-groups.js';
import { acceptSnapshot, type DirectoryMember } from '../../src/registry/snapshot.js';
import { FEDERATION } from '../support/registry.js';
import { makeOrg, makeSigningRegistry, member, type Org, START_MS } from '../support/snapshots.js';

const ACME = 'ACME' as OrgName;
const GLOBEX = 'GLOBEX' as OrgName;
const INITECH = 'INITECH' as OrgName;
const none = { groups: [], consents: [] };

let acme: Org;
let globex: Org;
test.before(async () => {
  acme = await makeOrg('ACME');
  globex = await makeOrg('GLOBEX');
});

test('groups of a record: what is signed is what is read', t => {
  const groups = [
    { name: 'suppliers', orgs: [GLOBEX, INITECH] },
    { name: 'banks', orgs: [INITECH] },
  ];
  const signed = acme.record({ groups, consents: ['globex.partners'] });
  const profile = readRecord(signed, FEDERATION);
  t.deepEqual(profile.grouping, {
    groups: [groups[1], groups[0]] as typeof groups,
    consents: ['globex.partners'],
    problem: undefined,
  });
  t.notThrows(() => checkNewRecord(profile));
  t.deepEqual(readRecord(acme.record(), FEDERATION).grouping, { ...none, problem: undefined });
});

const WRONG: readonly (readonly [string, Parameters<typeof readGroups>[1]])[] = [
  ['a name that cannot be', { ...none, groups: [{ name: 'No!', orgs: ['GLOBEX'] }] }],
  ['a name with a dot', { ...none, groups: [{ name: 'a.b', orgs: ['GLOBEX'] }] }],
  ['an empty group', { ...none, groups: [{ name: 'a', orgs: [] }] }],
  ['a group in a group', { ...none, groups: [{ name: 'a', orgs: ['@b'] }] }],
  ['a group of a record in a group', { ...none, groups: [{ name: 'a', orgs: ['globex.b'] }] }],
  ['an organisation twice', { ...none, groups: [{ name: 'a', orgs: ['GLOBEX', 'GLOBEX'] }] }],
  ['two groups of one name', { ...none, groups: [1, 2].map(() => ({ name: 'a', orgs: ['GLOBEX'] })) }],
  [
    'too many groups',
    { ...none, groups: Array.from({ length: MAX_GROUPS + 1 }, (_, i) => ({ name: `g${i}`, orgs: ['GLOBEX'] })) },
  ],
  ['consent to an own group', { ...none, consents: [{ org: 'ACME', group: 'a' }] }],
  ['consent to nobody', { ...none, consents: [{ org: 'globex', group: 'a' }] }],
  ['consent twice', { ...none, consents: [1, 2].map(() => ({ org: 'GLOBEX', group: 'a' })) }],
  [
    'too many consents',
    { ...none, consents: Array.from({ length: MAX_CONSENTS + 1 }, (_, i) => ({ org: 'GLOBEX', group: `g${i}` })) },
  ],
];
for (const [what, content] of WRONG) {
  test(`groups of a record: ${what} is a problem, and what is good still counts`, t => {
    const good = { groups: [{ name: 'good', orgs: ['INITECH'] }], consents: [{ org: 'INITECH', group: 'good' }] };
    const read = readGroups(ACME, {
      groups: [...good.groups, ...content.groups],
      consents: [...good.consents, ...content.consents],
    });
    t.truthy(read.problem);
    t.true(read.groups.some(({ name }) => name === 'good'));
    t.true(read.consents.includes('initech.good'));
    t.true(read.groups.length <= MAX_GROUPS && read.consents.length <= MAX_CONSENTS);
  });
}

test('groups of a record: a registry refuses a new record with nonsense, and nobody refuses a snapshot for it', t => {
  const signed = acme.record({ groups: [{ name: 'No!', orgs: [GLOBEX] }] });
  const profile = readRecord(signed, FEDERATION);
  const refused = t.throws<FedgateError>(() => checkNewRecord(profile));
  t.is(refused?.reason, 'RECORD_INVALID');
  const registry = makeSigningRegistry();
  const snapshot = registry.sign(1n, [member(acme, signed), member(globex, globex.record())]);
  const rules = { federation: FEDERATION, snapshotKey: registry.snapshotKey, nowMs: START_MS };
  t.is(acceptSnapshot(undefined, snapshot, rules).members.size, 2);
});

test('members of a group: only active members that consent count, and the owner itself', t => {
  const consenting = readRecord(globex.record({ consents: ['acme.all'] }), FEDERATION);
  const profile = readRecord(acme.record({ groups: [{ name: 'all', orgs: [ACME, GLOBEX, INITECH] }] }), FEDERATION);
  const owner: DirectoryMember = { org: ACME, state: 'active', profile };
  const standings = (...members: readonly DirectoryMember[]): Record<string, string> => {
    const all = new Map(members.map(each => [each.org as string, each]));
    const found = groupMembers(owner, 'all', org => all.get(org)) ?? [];
    return Object.fromEntries(found.map(({ org, standing }) => [org, standing]));
  };
  const other: DirectoryMember = { org: GLOBEX, state: 'active', profile: consenting };
  t.deepEqual(standings(owner, other), { ACME: 'counts', GLOBEX: 'counts', INITECH: 'unknown' });
  t.is(standings(owner, { ...other, state: 'suspended' }).GLOBEX, 'suspended');
  t.is(standings(owner, { ...other, state: 'removed' }).GLOBEX, 'removed');
  const silent = readRecord(globex.record({ consents: ['acme.other', 'initech.all'] }), FEDERATION);
  t.is(standings(owner, { ...other, profile: silent }).GLOBEX, 'no consent');
  t.is(
    groupMembers(owner, 'none', () => undefined),
    undefined,
  );
});

test('changes of groups: what is so already is nothing to do; own groups need no consent', t => {
  const previous = readRecord(acme.record({ groups: [{ name: 'a', orgs: [GLOBEX] }] }), FEDERATION);
  t.is(setGroup(previous, 'a', [GLOBEX, GLOBEX]), undefined);
  t.deepEqual(setGroup(previous, 'a', [INITECH, GLOBEX])?.groups, [{ name: 'a', orgs: [GLOBEX, INITECH] }]);
  t.deepEqual(removeGroup(previous, 'a').groups, []);
  t.is(t.throws<FedgateError>(() => removeGroup(previous, 'b'))?.reason, 'GROUP_UNKNOWN');
  t.is(t.throws<FedgateError>(() => setGroup(previous, 'b', []))?.reason, 'FIELD_INVALID');
  t.deepEqual(consentTo(previous, GLOBEX, 'x')?.consents, ['globex.x']);
  t.is(t.throws<FedgateError>(() => consentTo(previous, ACME, 'x'))?.reason, 'FIELD_INVALID');
  t.is(withdrawFrom(previous, GLOBEX, 'x'), undefined);
});

test('name of a group: any text is refused with a reason, or means what it says', t => {
  t.deepEqual(parseGroupRef('suppliers', 'g'), { owner: undefined, name: 'suppliers' });
  t.deepEqual(parseGroupRef('acme-2.suppliers', 'g'), { owner: 'ACME-2' as OrgName, name: 'suppliers' });
  for (const wrong of ['', '.', 'acme.', '.x', 'ACME.x', 'a.x', 'acme.x.y', 'acme.X', 'registry.x', '1acme.x', 'ß.x'])
    t.is(t.throws<FedgateError>(() => parseGroupRef(wrong, 'g'), undefined, wrong)?.reason, 'FIELD_INVALID', wrong);
  const org = fc.stringMatching(/^[A-Z][A-Z0-9-]{1,31}$/).filter(text => text !== 'REGISTRY');
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/);
  fc.assert(
    fc.property(org, name, (owner, group) => {
      t.deepEqual(parseGroupRef(formatGroupRef(owner, group), 'g'), { owner: owner as OrgName, name: group });
    }),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), text => {
      try {
        const ref = parseGroupRef(text, 'g');
        return (ref.owner === undefined ? ref.name : formatGroupRef(ref.owner, ref.name)) === text;
      } catch (error) {
        return (error as FedgateError).reason === 'FIELD_INVALID';
      }
    }),
    { numRuns: 500 },
  );
});
