import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { BatchHeader, type ReplyTerms } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { connect, type FedgateClient } from '../../src/client/index.js';
import type { FedgateError, Reason } from '../../src/errors.js';
import { FedgateError as Refusal } from '../../src/errors.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import type { OutgoingRequest } from '../../src/link/batch.js';
import { wireRefusal, wireSurveyEnd } from '../../src/link/request-answers.js';
import { openLaneFrame } from '../../src/wire/lane-frames.js';
import { readRecords } from '../../src/wire/record-codec.js';
import { seededRandom } from '../faults/support/random.js';
import {
  authorityOf,
  type BatchLies,
  frameBytes,
  HostileGateway,
  type HostileLink,
  pairIn,
  recordBlock,
} from '../support/attack.js';
import { startTestOrg, type TestOrg } from '../support/federation.js';
import { joinOrg, startTestRegistry } from '../support/registry.js';

/** ACME's gateway does not run: this file holds its key and answers GLOBEX as it likes, and asks it what it likes. */
interface Scene {
  readonly acme: HostileGateway;
  readonly globex: TestOrg;
  readonly asker: FedgateClient;
}

const ACCESS =
  'nodes: [{ node: "*", request: ["**", "pubsub://*/**"], respond: ["**"] }]\npeers: [{ org: ACME, request: ["q/*"] }]';

let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const registry = await startTestRegistry(scope);
  const folder = await joinOrg(scope, registry, 'ACME', { addresses: [] });
  const globex = await startTestOrg(scope, registry, 'GLOBEX', { access: ACCESS });
  const authorities = [(await authorityOf(globex.folder)).certificate];
  const identity = await pairIn(orgFolder(folder).gateway('gw1'));
  const acme = new HostileGateway(scope, 'ACME', identity, globex.gateway.peerAddress, authorities);
  scene = { acme, globex, asker: await globex.node('asker') };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const CAN = { capabilities: ['live', 'requests'] };

let current: HostileLink | undefined;

/** A link over which GLOBEX can ask. The one before is over first, so that it is sure which one is used. */
async function linked(can: { readonly capabilities?: string[] } = CAN): Promise<HostileLink> {
  const { globex, acme } = scene;
  const state = (wanted: (state: unknown) => boolean) =>
    globex.logged(({ msg, state }) => msg === 'link' && wanted(state));
  if (current) {
    const down = state(now => now !== 'up');
    current.control.call.cancel();
    await down;
  }
  globex.events.length = 0;
  current = await acme.link(77n, can);
  await state(now => now === 'up');
  return current;
}

const attack = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(title, t => run(t, scene));

/** The n-th batch that GLOBEX sent, opened. */
function batchOf(link: HostileLink, check: (header: BatchHeader) => boolean) {
  return link.mail.until(bytes => {
    const opened = openLaneFrame(bytes);
    if (!('batch' in opened)) return undefined;
    const header = BatchHeader.decode(opened.batch.header);
    return check(header) ? { header, records: readRecords(opened.batch.records) } : undefined;
  });
}

const asked = (link: HostileLink, id: bigint) =>
  batchOf(link, ({ requests }) => requests.some(terms => terms.id === id));

const reply = (id: bigint, lies: Partial<ReplyTerms> = {}): BatchLies => ({
  channel: '',
  senderNode: '',
  records: recordBlock('from ACME'),
  replies: [{ requestId: id, kind: 1, node: 'clerk', attempts: 1, duplicate: false, ...lies }],
});

const request = (id: number, lies: Partial<OutgoingRequest> = {}): OutgoingRequest => ({
  id,
  dueMs: performance.now() + 20_000,
  once: false,
  key: '',
  survey: false,
  oneWay: false,
  maxAnswers: 0,
  ...lies,
});

const failure = (t: ExecutionContext, asking: Promise<unknown>) => t.throwsAsync<FedgateError>(asking);
const stranger = createPrivateKey(
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
);

attack(
  'hostile reply: an honest one counts, the second one is dropped, counted and logged, and the link stays',
  async (t, { asker, globex }) => {
    const link = await linked();
    const asking = asker.request('pubsub://ACME/q/x', 'hello');
    const { header, records } = await asked(link, 1n);
    t.like(header, { channel: 'q/x', senderNode: 'asker' });
    t.is(records[0]?.text, 'hello');
    link.mail.write(link.batch(reply(1n))).write(link.batch({ ...reply(1n), records: recordBlock('another') }));
    const { text, node, org } = await asking;
    t.deepEqual({ text, node, org }, { text: 'from ACME', node: 'clerk', org: 'ACME' });
    t.like(await link.outcome(2), { subscribers: 0, dropped: 1 });
    await globex.logged(event => event.dropped === 'answer' && event.err?.reason === 'REPLAYED');
  },
);

attack('hostile reply: after the deadline it is dropped', async (t, { asker }) => {
  const link = await linked();
  t.is((await failure(t, asker.request('pubsub://ACME/q/x', 'x', { timeoutMs: 150 })))?.reason, 'DEADLINE_EXCEEDED');
  await asked(link, 1n);
  link.mail.write(link.batch(reply(1n)));
  t.like(await link.outcome(1), { subscribers: 0, dropped: 1 });
});

const CUT_OFF: readonly { readonly title: string; readonly lies: () => BatchLies; readonly reason: Reason }[] = [
  {
    title: 'to what was never asked, as one asked of another organisation',
    lies: () => reply(2n),
    reason: 'FRAME_UNEXPECTED',
  },
  { title: 'with number 0', lies: () => reply(0n), reason: 'FRAME_UNEXPECTED' },
  { title: 'that is forged', lies: () => ({ ...reply(1n), key: stranger }), reason: 'SIGNATURE_INVALID' },
  {
    title: 'that claims to come from another organisation',
    lies: () => ({ ...reply(1n), originOrg: 'INITECH' }),
    reason: 'IDENTITY_MISMATCH',
  },
  { title: 'of a kind that is not known', lies: () => reply(1n, { kind: 9 as 1 }), reason: 'FRAME_MALFORMED' },
  { title: 'that ends a survey which is none', lies: () => reply(1n, { kind: 4 }), reason: 'FRAME_UNEXPECTED' },
  {
    title: 'with more terms than records',
    lies: () => ({ ...reply(1n), replies: [...(reply(1n).replies ?? []), ...(reply(1n).replies ?? [])] }),
    reason: 'FRAME_MALFORMED',
  },
  { title: 'on a channel', lies: () => ({ ...reply(1n), channel: 'q/x' }), reason: 'FRAME_MALFORMED' },
  { title: 'that is a request too', lies: () => ({ ...reply(1n), requests: [request(1)] }), reason: 'FRAME_MALFORMED' },
];
for (const { title, lies, reason } of CUT_OFF) {
  attack(
    `hostile reply: one ${title} ends the link with ${reason}, and the caller is told no success`,
    async (t, { asker, globex }) => {
      const link = await linked();
      const refused = failure(t, asker.request('pubsub://ACME/q/x', 'x'));
      await asked(link, 1n);
      link.mail.write(link.batch(lies()));
      t.is((await link.mail.ended)?.reason, reason);
      t.is((await refused)?.reason, 'OUTCOME_UNKNOWN');
      await globex.logged(event => event.msg === 'refused' && event.err?.reason === reason);
    },
  );
}

attack(
  'hostile reply: what cannot be read, a node that is none, a huge refusal and a false error are no success',
  async (t, { asker }) => {
    const link = await linked();
    const ask = async (id: bigint, lies: BatchLies): Promise<FedgateError | undefined> => {
      const refused = failure(t, asker.request('pubsub://ACME/q/x', 'x'));
      await asked(link, id);
      link.mail.write(link.batch(lies));
      return refused;
    };
    t.is((await ask(1n, reply(1n, { node: '../x' })))?.reason, 'OUTCOME_UNKNOWN');
    t.is((await ask(2n, reply(2n, { kind: 2 })))?.reason, 'OUTCOME_UNKNOWN');
    const { record, ...terms } = wireRefusal(new Refusal('LIMIT_REACHED', 'x'.repeat(100_000)));
    const huge = await ask(3n, { ...reply(3n, terms), records: record });
    t.is(huge?.reason, 'LIMIT_REACHED');
    t.true((huge?.message.length ?? 0) < 1_000);
    const forged = wireRefusal(new Refusal('APPLICATION_ERROR', 'as if a responder had said it'));
    t.is((await ask(4n, { ...reply(4n, { kind: 3 }), records: forged.record }))?.reason, 'OUTCOME_UNKNOWN');
  },
);

attack(
  'hostile survey: more answers than were asked for, and nodes of others named as missing',
  async (t, { asker }) => {
    const link = await linked();
    const survey = asker.survey('pubsub://ACME/q/x', 'x', { maxAnswers: 1 });
    const reading = (async () => {
      const nodes: string[] = [];
      for await (const { org, node } of survey) nodes.push(`${org}/${node}`);
      return nodes;
    })();
    await asked(link, 1n);
    const end = wireSurveyEnd({ asked: 9, answered: 1, missing: [{ org: 'INITECH', node: 'n', why: 'gone' }] });
    const { record, ...terms } = end;
    link.mail.write(link.batch(reply(1n))).write(link.batch({ ...reply(1n, terms), records: record }));
    t.deepEqual(await reading, ['ACME/clerk']);
    t.deepEqual((await survey.summary).missing, [{ org: 'ACME', node: 'n', why: 'gone' }]);
    const flooded = asker.survey('pubsub://ACME/q/x', 'x', { maxAnswers: 1 });
    const refused = failure(
      t,
      (async () => {
        for await (const _ of flooded);
      })(),
    );
    await asked(link, 2n);
    link.mail.write(link.batch(reply(2n))).write(link.batch(reply(2n)));
    t.is((await refused)?.reason, 'OUTCOME_UNKNOWN');
  },
);

attack(
  'hostile request: refused where it is not granted; numbers that do not rise end the link',
  async (t, { globex }) => {
    const link = await linked();
    link.mail.write(link.batch({ channel: 'secret', requests: [request(1)] }));
    const { error } = await link.outcome(1);
    t.regex(error?.message ?? '', /does not let ACME ask/);
    await globex.logged(event => event.security === true && event.err?.reason === 'NOT_GRANTED');
    link.mail.write(frameBytes({ $case: 'requestCancel', value: { ids: [7n, 1n, 0n] } }));
    link.mail.write(link.batch({ channel: 'q/x', requests: [request(1)] }));
    t.is((await link.mail.ended)?.reason, 'REPLAYED');
  },
);

attack('hostile request: a peer that knows no requests is asked nothing', async (t, { asker }) => {
  const link = await linked({});
  t.is((await failure(t, asker.request('pubsub://ACME/q/x', 'x')))?.reason, 'FEATURE_UNSUPPORTED');
  t.false(
    link.mail.received.some(bytes => 'batch' in openLaneFrame(bytes)),
    'nothing went out',
  );
});

attack(
  'roles: one that is enabled at any moment around the link coming up answers, 30 times',
  async (t, { globex }) => {
    const random = seededRandom(42);
    const context = await globex.context('role');
    const moment = (): Promise<void> => new Promise(resolve => setTimeout(resolve, random.between(0, 12)));
    for (let i = 0; i < 30; i++) {
      const clerk = await connect({ context });
      const responding = clerk.respond('q/*', () => `round ${i}`, { enabled: false });
      const [link] = await Promise.all([moment().then(() => linked()), moment().then(() => responding.enable())]);
      link.mail.write(link.batch({ channel: 'q/x', requests: [request(1)] }));
      const { header, records } = await batchOf(link, ({ replies }) => replies.length > 0);
      t.like(header.replies[0], { requestId: 1n, kind: 1, node: 'role' });
      t.is(records[0]?.text, `round ${i}`);
      await responding.disable();
      link.mail.write(link.batch({ channel: 'q/x', requests: [request(2)] }));
      const after = await batchOf(link, ({ replies }) => replies.some(({ requestId }) => requestId === 2n));
      t.is(after.header.replies[0]?.kind, 3);
      clerk.close();
    }
  },
);

attack('one-way: a peer without the capability is not sent any, and is told so', async (t, { asker }) => {
  await linked();
  const error = await t.throwsAsync<FedgateError>(asker.tell('pubsub://ACME/q/x', 'x'));
  t.is(error?.reason, 'FEATURE_UNSUPPORTED');
});

attack(
  'one-way: what is said to be handed over and is not one-way, or the other way round, ends the link',
  async (t, { asker, globex }) => {
    for (const oneWay of [false, true]) {
      const link = await linked({ capabilities: ['live', 'requests', 'one-way'] });
      const telling = oneWay ? asker.tell('pubsub://ACME/q/x', 'x') : asker.request('pubsub://ACME/q/x', 'x');
      const failed = t.throwsAsync<FedgateError>(telling);
      const { header } = await batchOf(link, ({ requests }) => requests.length > 0);
      t.is(header.requests[0]?.oneWay, oneWay);
      link.mail.write(link.batch(reply(header.requests[0]?.id ?? 0n, { kind: oneWay ? 1 : 5 })));
      t.is((await failed)?.reason, 'OUTCOME_UNKNOWN');
      await globex.logged(({ err }) => err?.reason === 'FRAME_UNEXPECTED');
    }
  },
);
