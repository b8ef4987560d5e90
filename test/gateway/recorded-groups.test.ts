import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { FedgateClient, PublishReport } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { consentTo, removeGroup, setGroup, withdrawFrom } from '../../src/registry/group-changes.js';
import { updateGroups } from '../../src/registry/update.js';
import { allMet, startTestOrg, type TestOrg } from '../support/federation.js';
import { LIVE } from '../support/live.js';
import { startTestRegistry, type TestRegistry } from '../support/registry.js';

const MAY =
  'publish: ["**", "pubsub://*/**"], subscribe: ["**"], request: ["pubsub://*/**"], respond: ["**"], share: ["*"], fetch: ["*"]';
const ALL = `nodes: [{ node: a, ${MAY} }]\npeers: [{ org: "*", publish: ["**"], request: ["**"] }]`;
const ACME = 'ACME' as OrgName;
const GLOBEX = 'GLOBEX' as OrgName;
const INITECH = 'INITECH' as OrgName;

interface Scene {
  readonly registry: TestRegistry;
  readonly acme: TestOrg;
  readonly globex: TestOrg;
  readonly initech: TestOrg;
  readonly a: FedgateClient;
  readonly g: FedgateClient;
}

let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const registry = await startTestRegistry(scope);
  const acme = await startTestOrg(scope, registry, 'ACME', { access: ALL, extra: 'groups: { both: [INITECH] }' });
  const globex = await startTestOrg(scope, registry, 'GLOBEX', { access: ALL });
  const initech = await startTestOrg(scope, registry, 'INITECH', { access: ALL });
  await allMet(registry, acme, globex, initech);
  scene = { registry, acme, globex, initech, a: await acme.node('a'), g: await globex.node('a') };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

/** Runs when all gateways go by what the registry says now. */
async function everybodyKnows({ registry, acme, globex, initech }: Scene): Promise<void> {
  const { snapshotVersion } = await registry.admin.list();
  const knows = (org: TestOrg): Promise<unknown> =>
    org.logged(({ msg, snapshot }) => msg === 'registry snapshot taken' && BigInt(String(snapshot)) >= snapshotVersion);
  await Promise.all([acme, globex, initech].map(knows));
}

const name = (folder: string, group: string, ...orgs: readonly OrgName[]) =>
  updateGroups({ folder, change: previous => setGroup(previous, group, orgs) });

const fates = ({ orgs = [] }: PublishReport): Record<string, unknown> =>
  Object.fromEntries(orgs.map(({ org, report, error }) => [org, error ? error.reason : report.subscribers]));

const story = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(title, t => run(t, scene));

story(
  'groups by record: who consents counts, others are told as not consenting, and anybody may use the group',
  async (t, s) => {
    await name(s.acme.folder, 'suppliers', ACME, GLOBEX, INITECH);
    await updateGroups({ folder: s.globex.folder, change: previous => consentTo(previous, ACME, 'suppliers') });
    await everybodyKnows(s);
    const some = { ACME: 0, GLOBEX: 0, INITECH: 'GROUP_CONSENT_MISSING' };
    t.deepEqual(fates(await s.a.publish('pubsub://@acme.suppliers/news', 'x', LIVE)), some);
    t.deepEqual(
      fates(await s.a.publish('pubsub://@suppliers/news', 'x', LIVE)),
      some,
      'a bare name is one of the own record',
    );
    t.deepEqual(fates(await s.g.publish('pubsub://@acme.suppliers/news', 'x', LIVE)), some);
    const unknown = await t.throwsAsync<FedgateError>(s.g.publish('pubsub://@suppliers/news', 'x'));
    t.is(unknown?.reason, 'GROUP_UNKNOWN');
    await updateGroups({ folder: s.initech.folder, change: previous => consentTo(previous, ACME, 'suppliers') });
    await everybodyKnows(s);
    const kept = await s.a.publish('pubsub://@acme.suppliers/news', 'x', { ack: 'received' });
    t.deepEqual(Object.keys(fates(kept)), ['ACME', 'GLOBEX', 'INITECH']);
    t.true(kept.orgs?.every(({ error }) => !error));
  },
);

story(
  'groups by record: a consent that is withdrawn, a group that is gone, an owner and a member that are cut off',
  async (t, s) => {
    await updateGroups({ folder: s.initech.folder, change: previous => withdrawFrom(previous, ACME, 'suppliers') });
    await everybodyKnows(s);
    t.is(fates(await s.a.publish('pubsub://@acme.suppliers/news', 'x', LIVE)).INITECH, 'GROUP_CONSENT_MISSING');
    await s.registry.admin.setState('INITECH', 'suspended');
    await s.acme.logged(({ msg, org, state }) => msg === 'link' && org === 'INITECH' && state === 'blocked');
    t.is(fates(await s.a.publish('pubsub://@acme.suppliers/news', 'x', LIVE)).INITECH, 'ORG_INACTIVE');
    await s.registry.admin.setState('INITECH', 'active');
    await name(s.initech.folder, 'mine', ACME, GLOBEX);
    await everybodyKnows(s);
    t.deepEqual(fates(await s.a.publish('pubsub://@initech.mine/news', 'x', LIVE)), {
      ACME: 'GROUP_CONSENT_MISSING',
      GLOBEX: 'GROUP_CONSENT_MISSING',
    });
    await updateGroups({ folder: s.initech.folder, change: previous => removeGroup(previous, 'mine') });
    await everybodyKnows(s);
    const gone = await t.throwsAsync<FedgateError>(s.a.publish('pubsub://@initech.mine/news', 'x'));
    t.is(gone?.reason, 'GROUP_UNKNOWN');
    const nobody = await t.throwsAsync<FedgateError>(s.a.publish('pubsub://@nobody.mine/news', 'x'));
    t.is(nobody?.reason, 'ORG_UNKNOWN');
    for (const address of ['pubsub://@ACME.suppliers/x', 'pubsub://@acme.suppliers.more/x', 'pubsub://@acme./x'])
      t.is((await t.throwsAsync<FedgateError>(s.a.publish(address, 'x')))?.reason, 'FIELD_INVALID', address);
  },
);

story(
  'groups by record: the configuration wins where it has a group of that name, and the full name means the record',
  async (t, s) => {
    await name(s.acme.folder, 'both', GLOBEX);
    await updateGroups({ folder: s.globex.folder, change: previous => consentTo(previous, ACME, 'both') });
    await everybodyKnows(s);
    t.deepEqual(Object.keys(fates(await s.a.publish('pubsub://@both/x', 'x', LIVE))), ['INITECH']);
    t.deepEqual(Object.keys(fates(await s.a.publish('pubsub://@acme.both/x', 'x', LIVE))), ['GLOBEX']);
  },
);

story(
  'groups by record: who is granted nothing is refused as ever; surveys and shares mean the same organisations',
  async (t, s) => {
    const nobody = await s.acme.node('nobody');
    for (const address of ['pubsub://@acme.suppliers/x', 'pubsub://@acme.both/x'])
      t.is((await t.throwsAsync<FedgateError>(nobody.publish(address, 'x')))?.reason, 'NOT_GRANTED', address);
    const responding = s.g.respond('quotes', request => request.payload);
    await responding.opened;
    const survey = s.a.survey('pubsub://@acme.suppliers/quotes', 'how much?', { timeoutMs: 5_000 });
    const answers: string[] = [];
    for await (const answer of survey) answers.push(answer.org);
    t.deepEqual(answers, ['GLOBEX']);
    const summary = await survey.summary;
    t.is(summary.orgs?.find(({ org }) => org === 'INITECH')?.error?.reason, 'GROUP_CONSENT_MISSING');
    const share = await s.a.share(Readable.from([Buffer.from('plan')]), {
      audience: { groups: ['acme.suppliers'] },
      name: 'plan.txt',
    });
    const fetched = await s.g.fetchStream(share.id);
    const parts: Buffer[] = [];
    for await (const part of fetched) parts.push(Buffer.from(part));
    t.is(Buffer.concat(parts).toString(), 'plan');
    const initech = await s.initech.node('a');
    const refused = await t.throwsAsync<FedgateError>(async () => {
      for await (const part of await initech.fetchStream(share.id)) void part;
    });
    t.is(refused?.reason, 'SHARE_UNKNOWN');
    const large = await s.a.share(Readable.from([Buffer.alloc(96 * 1024 * 1024)]), {
      audience: { groups: ['acme.suppliers'] },
    });
    const underWay = (await s.g.fetchStream(large.id))[Symbol.asyncIterator]();
    await underWay.next();
    await updateGroups({ folder: s.globex.folder, change: previous => withdrawFrom(previous, ACME, 'suppliers') });
    await everybodyKnows(s);
    const ended = await t.throwsAsync<FedgateError>(async () => {
      while (!(await underWay.next()).done);
    });
    t.is(ended?.reason, 'SHARE_UNKNOWN');
    const after = await t.throwsAsync<FedgateError>(async () => {
      for await (const part of await s.g.fetchStream(share.id)) void part;
    });
    t.is(after?.reason, 'SHARE_UNKNOWN');
  },
);
