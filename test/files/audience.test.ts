import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { MAX_AUDIENCE, matches, NOBODY, organisationsOf, parseAudience } from '../../src/files/audience.js';
import type { Audience } from '../../src/files/types.js';
import type { OrgName } from '../../src/identity/names.js';
import { groupsOf } from '../support/groups.js';

const GROUPS = groupsOf({ suppliers: ['GLOBEX', 'INITECH'], 'acme.partners': ['GLOBEX'] });
const of = (part: Partial<Audience>): Audience => ({ ...NOBODY, ...part });
const GLOBEX = 'GLOBEX' as OrgName;

for (const [what, audience, asker, expected] of [
  ['nobody', NOBODY, 'GLOBEX/erp', false],
  ['its organisation', of({ orgs: [GLOBEX] }), 'GLOBEX/erp', true],
  ['another organisation', of({ orgs: [GLOBEX] }), 'GLOBEXX/erp', false],
  ['itself', of({ nodes: ['GLOBEX/erp'] }), 'GLOBEX/erp', true],
  ['another node', of({ nodes: ['GLOBEX/erp'] }), 'GLOBEX/erp2', false],
  ['a node of that name elsewhere', of({ nodes: ['GLOBEX/erp'] }), 'INITECH/erp', false],
  ['its group', of({ groups: ['suppliers'] }), 'INITECH/x', true],
  ['a group without it', of({ groups: ['suppliers'] }), 'UMBRELLA/x', false],
  ['a group that is no more', of({ groups: ['gone'] }), 'GLOBEX/erp', false],
  ['a group named like a property of every object', of({ groups: ['constructor'] }), 'GLOBEX/erp', false],
  ['a group of a record', of({ groups: ['acme.partners'] }), 'GLOBEX/x', true],
  ['a group of a record without it', of({ groups: ['acme.partners'] }), 'INITECH/x', false],
  ['anyone', of({ anyone: true }), 'UMBRELLA/x', true],
] as const) {
  test(`audience: shared with ${what}, ${expected ? 'may' : 'may not'} be fetched by ${asker}`, t => {
    const [org, node] = asker.split('/') as [OrgName, string];
    t.is(matches(audience, { org, node }, GROUPS), expected);
  });
}

for (const [field, part] of [
  ['a.orgs[1]', { orgs: ['GLOBEX', 'globex'] }],
  ['a.orgs[0]', { orgs: ['REGISTRY'] }],
  ['a.nodes[0]', { nodes: ['erp'] }],
  ['a.nodes[0]', { nodes: ['GLOBEX/'] }],
  ['a.nodes[1]', { nodes: ['GLOBEX/erp', 'GLOBEX/e/f'] }],
  ['a.groups[0]', { groups: ['nobody'] }],
  ['a.groups[0]', { groups: ['@suppliers'] }],
  ['a.groups[0]', { groups: ['toString'] }],
  ['a.groups[0]', { groups: ['ACME.partners'] }],
  ['a.groups[0]', { groups: ['acme.'] }],
  ['a.groups[0]', { groups: ['acme.partners.more'] }],
  ['a', { nodes: Array.from({ length: MAX_AUDIENCE + 1 }, (_, i) => `GLOBEX/n${i}`) }],
] as const) {
  test(`audience: ${JSON.stringify(part).slice(0, 40)} is refused, naming ${field}`, t => {
    const message = { orgs: [], nodes: [], groups: [], anyone: false, ...part };
    const error = t.throws<FedgateError>(() => parseAudience(message, GROUPS, 'a'));
    t.is(error?.reason, 'FIELD_INVALID');
    t.is(error?.fields[0]?.field, field);
  });
}

test('audience: the organisations that need a grant are those of all its parts', t => {
  const audience = parseAudience(
    { orgs: ['ACME', 'ACME'], nodes: ['UMBRELLA/x'], groups: ['suppliers'], anyone: true },
    GROUPS,
    'a',
  );
  t.is(audience.orgs.length, 1);
  t.deepEqual([...organisationsOf(audience, GROUPS)].sort(), ['*', 'ACME', 'GLOBEX', 'INITECH', 'UMBRELLA']);
  t.is(organisationsOf(NOBODY, GROUPS).size, 0);
});
