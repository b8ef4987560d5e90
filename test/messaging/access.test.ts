import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { parseConfig } from '../../src/gateway/config.js';
import type { OrgName } from '../../src/identity/names.js';
import { Access } from '../../src/messaging/access.js';

const access = (yaml: string): Access => {
  const listen = 'listen: { nodes: "127.0.0.1:0", peers: "127.0.0.1:0" }';
  return new Access('ACME' as OrgName, parseConfig(`${listen}\naccess: ${yaml}\n`, 'gateway.yaml').access);
};

/** What a node may do about proposals. */
const rights = (of: Access, node: string) =>
  (['view', 'propose', 'vote'] as const).filter(right => {
    try {
      of.checkApprovals(node, right);
      return true;
    } catch (error) {
      return !(error instanceof FedgateError && error.reason === 'NOT_GRANTED');
    }
  });

test('access: nothing about proposals is granted unless it is said; who may propose or vote may see', t => {
  const of = access(
    '{ nodes: [{ node: a }, { node: b, approvals: [view] }, { node: c, approvals: [propose] }, { node: d, approvals: [vote] }, { node: e, admin: true }] }',
  );
  t.deepEqual(
    ['a', 'b', 'c', 'd', 'e'].map(node => rights(of, node)),
    [[], ['view'], ['view', 'propose'], ['view', 'vote'], []],
  );
});

test('access: a rule for every node adds to those of one', t => {
  const of = access('{ nodes: [{ node: "*", approvals: [view] }, { node: a, approvals: [vote] }] }');
  t.deepEqual(rights(of, 'a'), ['view', 'vote']);
  t.deepEqual(rights(of, 'b'), ['view']);
});

test('access: an organisation may ask for approval when a rule says so, by name or for all; and is dialled', t => {
  const named = access('{ peers: [{ org: GLOBEX, propose: true }, { org: INITECH, publish: ["**"] }] }');
  t.deepEqual(
    ['GLOBEX', 'INITECH', 'UMBRELLA'].map(org => named.mayPropose(org)),
    [true, false, false],
  );
  t.true(named.grantedPeers.orgs.has('GLOBEX'));
  t.true(access('{ peers: [{ org: "*", propose: true }] }').mayPropose('UMBRELLA'));
});
