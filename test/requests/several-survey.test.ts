import test from 'ava';
import fc from 'fast-check';
import type { SurveyAnswer, SurveyOptions } from '../../src/client/index.js';
import { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { SeveralSurvey, type SurveyListener } from '../../src/requests/several-survey.js';
import type { SurveyEnd } from '../../src/requests/types.js';
import { recordBlock } from '../support/attack.js';
import { fedgate } from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';

const ASKS =
  'nodes: [{ node: "*", request: ["**", "pubsub://*/**"], respond: ["**"] }, { node: some, request: ["pubsub://GLOBEX/**"] }]';
const ANSWERS = `${ASKS}\npeers: [{ org: ACME, request: ["stock/*"] }]`;
const GROUPS = 'groups: { partners: [ACME, GLOBEX, HOOLI, INITECH, NOBODY], one: [GLOBEX] }';

let orgs: { readonly [name in 'ACME' | 'GLOBEX' | 'HOOLI' | 'INITECH']: TestOrg };
const undo: (() => unknown)[] = [];
test.before(async () => {
  const scope = { teardown: (action: () => unknown) => void undo.push(action) };
  orgs = await startFederation(scope, {
    ACME: { access: ASKS, extra: GROUPS },
    GLOBEX: { access: ANSWERS },
    HOOLI: { access: ASKS },
    INITECH: { access: ANSWERS },
  });
  await orgs.INITECH.stop();
  const respond = async (org: TestOrg, name: string, handler: () => Promise<string> | string): Promise<void> => {
    await (await org.node(name)).respond('stock/*', handler).opened;
  };
  await respond(orgs.GLOBEX, 'east', () => 'seven');
  await respond(orgs.GLOBEX, 'west', () => 'eight');
  await respond(orgs.GLOBEX, 'mute', () => new Promise(() => undefined));
  await respond(orgs.ACME, 'own', () => 'one');
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

async function survey(address: string, options: SurveyOptions = {}, node = 'asker') {
  const client = await orgs.ACME.node(node);
  const asked = client.survey(address, 'how much?', { timeoutMs: 6_000, ...options });
  asked.summary.catch(() => undefined);
  const answers: SurveyAnswer[] = [];
  for await (const answer of asked) answers.push(answer);
  return {
    said: answers.map(({ org, node, reply }) => `${org}/${node} ${reply?.text}`).sort(),
    summary: await asked.summary,
  };
}

test('survey of a group: all are asked side by side, and what became of it in each is named', async t => {
  const { said, summary } = await survey('pubsub://@partners/stock/steel');
  t.deepEqual(said, ['ACME/own one', 'GLOBEX/east seven', 'GLOBEX/west eight']);
  t.like(summary, { asked: 4, answered: 3, missing: [{ org: 'GLOBEX', node: 'mute', why: 'no answer' }] });
  const fates = summary.orgs?.map(({ org, asked, answered, error }) => [org, asked, answered, error?.reason]);
  t.deepEqual(fates?.slice(0, 3), [
    ['ACME', 1, 1, undefined],
    ['GLOBEX', 3, 2, undefined],
    ['HOOLI', 0, 0, 'NOT_GRANTED'],
  ]);
  t.deepEqual(fates?.[4], ['NOBODY', 0, 0, 'ORG_UNKNOWN']);
  t.true(['PEER_UNREACHABLE', 'DEADLINE_EXCEEDED'].includes(fates?.[3]?.[3] as string), String(fates?.[3]?.[3]));
});

test('survey of all others: enough answers end it everywhere', async t => {
  const { said, summary } = await survey('pubsub://*/stock/steel', { maxAnswers: 1, timeoutMs: 20_000 });
  t.is(said.length, 1);
  t.is(summary.answered, 1);
  const initech = summary.orgs?.find(({ org }) => org === 'INITECH');
  t.true(initech?.early || initech?.error?.reason === 'PEER_UNREACHABLE');
  t.is(summary.orgs?.length, 3);
});

test('survey of several: one organisation that is granted is asked, and none of them is a refusal', async t => {
  const { summary } = await survey('pubsub://*/stock/steel', {}, 'some');
  const [globex, hooli] = summary.orgs ?? [];
  t.is(globex?.error, undefined);
  t.is(hooli?.error?.reason, 'NOT_GRANTED');
  const reason = async (address: string): Promise<string> =>
    survey(address).then(
      () => 'none',
      (error: FedgateError) => error.reason,
    );
  t.is(await reason('pubsub://@nobody/stock/x'), 'GROUP_UNKNOWN');
  t.is(await reason('pubsub://@one/'), 'FIELD_INVALID');
});

test('survey of several: fedgate survey', async t => {
  const context = await orgs.ACME.context('cli');
  const { code, stdout, stderr } = await fedgate([
    'survey',
    'pubsub://@partners/stock/x',
    '?',
    '--wait',
    '6s',
    '--context',
    context,
  ]);
  t.is(code, 0, stderr);
  t.regex(stdout, /GLOBEX\/east: seven/);
  t.regex(stderr, /GLOBEX: 2 of 3 answered/);
  t.regex(stderr, /HOOLI: .*NOT_GRANTED/);
  t.regex(stderr, /GLOBEX\/mute: no answer/);
});

const ORGS = ['A', 'B', 'C'] as const;
type Event = readonly ['answer' | 'end' | 'fail' | 'give up', number];

test('survey of several: whatever comes in whatever order, it ends once, with all that came before and nothing after', t => {
  const event: fc.Arbitrary<Event> = fc.tuple(fc.constantFrom('answer', 'end', 'fail'), fc.integer({ min: 0, max: 2 }));
  fc.assert(
    fc.property(fc.array(event, { maxLength: 20 }), fc.integer({ min: 0, max: 4 }), (events, maxAnswers) => {
      const heard: SurveyListener[] = [];
      const given = new Set<string>();
      const ends: SurveyEnd[] = [];
      let answers = 0;
      const over = new Set<number>();
      const several = new SeveralSurvey(ORGS as unknown as OrgName[], maxAnswers, {
        answer: () => void answers++,
        end: end => void ends.push(end),
        fail: () => t.fail(),
      });
      several.start((org, listener) => {
        heard.push(listener);
        return () => void given.add(org);
      });
      let counted = 0;
      for (const [what, who] of events) {
        const listener = heard[who] as SurveyListener;
        const enough = maxAnswers > 0 && counted >= maxAnswers;
        if (what === 'answer') {
          if (!over.has(who) && over.size < 3 && !enough) counted++;
          listener.answer(
            { kind: 'reply', record: recordBlock('x'), node: 'n', attempts: 1, duplicate: false },
            ORGS[who] as OrgName,
          );
          continue;
        }
        if (what === 'end') listener.end({ asked: 1, answered: 1, missing: [] });
        else listener.fail(new FedgateError('PEER_UNREACHABLE', 'gone'));
        if (!enough) over.add(who);
      }
      const enough = maxAnswers > 0 && counted >= maxAnswers;
      if (answers !== counted) return false;
      if (!enough && over.size < 3) return ends.length === 0 && given.size === 0;
      return (
        ends.length === 1 && ends[0]?.answered === counted && ends[0].orgs?.length === 3 && given.size === 3 - over.size
      );
    }),
    { numRuns: 500 },
  );
  t.pass();
});
