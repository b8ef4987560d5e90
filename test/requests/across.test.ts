import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { RequestServiceService } from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import { connect, type FedgateClient, type IncomingRequest, RequestError } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import type { FedgateError } from '../../src/errors.js';
import { callUnary } from '../../src/transport/client-calls.js';
import { FaultyWire } from '../faults/support/proxy.js';
import { seededRandom } from '../faults/support/random.js';
import { startFedgate } from '../support/cli.js';
import { allMet, startTestOrg, type TestOrg } from '../support/federation.js';
import { startTestRegistry, type TestScope, temporaryFolder } from '../support/registry.js';

const ASKS = 'nodes: [{ node: "*", request: ["**", "pubsub://*/**"], respond: ["**"], status: true }]';
const LINKS = 'links: { heartbeatMs: 200, deadAfterMs: 10000 }';
const Q = 'pubsub://GLOBEX/q';

interface Scene {
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  /** The only way between the two. */
  readonly wire: FaultyWire;
  readonly asker: FedgateClient;
  readonly clerk: FedgateClient;
}

/** ACME, which nobody can dial, asks GLOBEX over a wire that can be cut. */
async function scene(t: TestScope): Promise<Scene> {
  const registry = await startTestRegistry(t);
  const peers = `127.0.0.1:${await freePort()}`;
  const wire = await FaultyWire.open(t, peers, seededRandom(7));
  const access = `${ASKS}\npeers: [{ org: ACME, request: ["**"] }]`;
  const GLOBEX = await startTestOrg(t, registry, 'GLOBEX', { access, extra: LINKS, peers, addresses: [wire.address] });
  const ACME = await startTestOrg(t, registry, 'ACME', { access: ASKS, extra: LINKS, reachable: false });
  await allMet(registry, ACME, GLOBEX);
  return { ACME, GLOBEX, wire, asker: await ACME.node('asker'), clerk: await GLOBEX.node('clerk') };
}

let shared: Scene;
const undo: (() => unknown)[] = [];

test.before(async () => {
  shared = await scene({ teardown: action => void undo.push(action) });
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

/** Takes turns with others like it: nothing is cut or stopped, and at its end nobody answers any more. */
const quiet = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(title, async t => {
    const clerk = await shared.GLOBEX.node('clerk');
    await run(t, { ...shared, clerk });
    clerk.close();
    const { asker } = shared;
    // Whoever is gone is noticed when its streams end, a moment later.
    while ((await asker.request(Q, 'x').catch((error: FedgateError) => error.reason)) !== 'NO_RESPONDERS');
  });

/** A handler that keeps what comes, and a promise of the first. */
function keeping() {
  let took: (request: IncomingRequest) => void = () => undefined;
  const first = new Promise<IncomingRequest>(resolve => {
    took = resolve;
  });
  let answer: (text: string) => void = () => undefined;
  const answered = new Promise<string>(resolve => {
    answer = resolve;
  });
  const handler = (request: IncomingRequest): Promise<string> => {
    took(request);
    return answered;
  };
  return { handler, first, answer };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

const failure = (t: ExecutionContext, request: Promise<unknown>): Promise<FedgateError | undefined> =>
  t.throwsAsync<FedgateError>(request);

test('request: a responder whose process is killed has it taken over by another, and the answer says so', async t => {
  const { GLOBEX, asker, clerk } = await scene(t);
  const fifo = join(await temporaryFolder(t), 'got');
  await promisify(execFile)('mkfifo', [fifo]);
  const dying = await GLOBEX.context('dying');
  const doomed = startFedgate(t, ['respond', 'q', '--exec', `echo got > ${fifo}; sleep 30`, '--context', dying]);
  await doomed.printed('answering on q');
  const asking = asker.request(Q, 'who?');
  const once = asker.request(Q, 'only you', { once: true });
  t.true((await readFile(fifo, 'utf8')).startsWith('got'));
  await clerk.respond('q', () => 'me').opened;
  doomed.child.kill('SIGKILL');
  const reply = await asking;
  t.like(reply, { text: 'me', node: 'clerk', attempts: 2 });
  t.is((await failure(t, once))?.reason, 'RESPONDER_GONE');
});

test('request: a link that is cut in the middle leaves the outcome unknown, the responder is told, and a key finds the reply', async t => {
  const { asker, clerk, wire } = await scene(t);
  const plain = keeping();
  const keyed = keeping();
  await clerk.respond('q', request => (request.text === 'keyed' ? keyed : plain).handler(request)).opened;
  const [one, two] = [asker.request(Q, 'plain'), asker.request(Q, 'keyed', { idempotencyKey: 'order-17' })];
  const refused = Promise.all([failure(t, one), failure(t, two)]);
  const [taken, kept] = await Promise.all([plain.first, keyed.first]);
  wire.cut();
  t.deepEqual(
    (await refused).map(error => error?.reason),
    ['OUTCOME_UNKNOWN', 'OUTCOME_UNKNOWN'],
  );
  await aborted(taken.signal);
  t.false(kept.signal.aborted, 'one with a key goes on');
  keyed.answer('done once');
  wire.heal();
  const reply = await untilLinked(() => asker.request(Q, 'keyed', { idempotencyKey: 'order-17' }));
  t.like(reply, { text: 'done once', duplicate: true });
});

/** Asks again as long as the other organisation cannot be reached. */
async function untilLinked<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const { reason, retryAfterMs = 100 } = error as FedgateError;
      if (reason !== 'PEER_UNREACHABLE' && reason !== 'OUTCOME_UNKNOWN') throw error;
      await new Promise(resolve => setTimeout(resolve, Math.min(retryAfterMs, 100)));
    }
  }
}

quiet(
  'request: the deadline and a caller that gives up reach the responder; neither is ever a reply',
  async (t, { asker, clerk }) => {
    const seen: IncomingRequest[] = [];
    let arrived: () => void = () => undefined;
    await clerk.respond('q', async request => {
      // The first one makes the link.
      if (request.text === 'first') return 'here';
      seen.push(request);
      arrived();
      await aborted(request.signal);
      return 'too late';
    }).opened;
    await asker.request(Q, 'first');
    const late = await failure(t, asker.request(Q, 'x', { timeoutMs: 3_000 }));
    t.is(late?.reason, 'DEADLINE_EXCEEDED');
    await aborted(seen[0]?.signal as AbortSignal);
    t.true((seen[0]?.timeoutMs ?? 0) <= 3_000, 'counted down');

    const come = new Promise<void>(resolve => {
      arrived = resolve;
    });
    const giveUp = new AbortController();
    const asking = failure(t, asker.request(Q, 'y', { signal: giveUp.signal }));
    await come;
    giveUp.abort();
    t.is((await asking)?.reason, 'CANCELLED');
    await aborted(seen[1]?.signal as AbortSignal);
    t.regex(String(seen[1]?.signal.reason), /gave up/);
  },
);

quiet(
  'roles: one that comes with its connection is seen, one that is disabled refuses at once, 30 times',
  async (t, { asker, GLOBEX }) => {
    const context = await GLOBEX.context('role');
    for (let i = 0; i < 30; i++) {
      const clerk = await connect({ context });
      const responding = clerk.respond('q', () => `round ${i}`, { enabled: i % 2 === 0 });
      await (i % 2 === 0 ? responding.opened : responding.enable());
      t.is((await asker.request(Q, 'x')).text, `round ${i}`);
      await responding.disable();
      t.is((await failure(t, asker.request(Q, 'x')))?.reason, 'NO_RESPONDERS');
      await responding.enable();
      t.is((await asker.request(Q, 'x')).text, `round ${i}`);
      clerk.close();
    }
  },
);

test('respond: goes on by itself when the gateway was restarted, with what was enabled meanwhile', async t => {
  const { asker, clerk, GLOBEX } = await scene(t);
  const responding = clerk.respond(['q', 'r'], request => request.channel, { enabled: false });
  await responding.enable('q');
  t.is((await asker.request(Q, 'x')).text, 'q');
  await GLOBEX.stop();
  const enabling = responding.enable('r');
  const disabling = responding.disable('q');
  await GLOBEX.start();
  await Promise.all([enabling, disabling]);
  t.is((await untilLinked(() => asker.request('pubsub://GLOBEX/r', 'x'))).text, 'r');
  t.is((await failure(t, asker.request(Q, 'x')))?.reason, 'NO_RESPONDERS');
});

test('respond: a gateway that stops lets what is out be answered', async t => {
  const { asker, clerk, GLOBEX } = await scene(t);
  const kept = keeping();
  await clerk.respond('q', kept.handler).opened;
  const asking = asker.request(Q, 'x');
  await kept.first;
  const stopped = GLOBEX.stop();
  kept.answer('in time');
  t.is((await asking).text, 'in time');
  await stopped;
});

quiet('request: large requests and replies at once both ways do not stand still', async (t, { asker, clerk }) => {
  await clerk.respond('q', request => request.payload).opened;
  const payload = Buffer.alloc(700_000, 7);
  const replies = await Promise.all(Array.from({ length: 24 }, () => asker.request(Q, payload)));
  t.true(replies.every(reply => reply.payload.equals(payload)));
});

quiet('request: typed by hand, without the SDK', async (t, { asker, clerk }) => {
  await clerk.respond('q', request => {
    if (request.text === 'no') throw new RequestError('NO', 'as you say');
    return request.payload;
  }).opened;
  const record = { id: '', key: Buffer.alloc(0), timeMs: 0n, contentType: '', headers: new Map<string, string>() };
  const ask = (payload: string) =>
    callUnary(
      asker.channel,
      RequestServiceService.request,
      {
        address: Q,
        timeoutMs: 0,
        idempotencyKey: '',
        once: false,
        oneWay: false,
        record: { ...record, payload: Buffer.from(payload) },
      },
      { timeoutMs: 8_000 },
    );
  const response = await ask('hi');
  t.like(response, { org: 'GLOBEX', node: 'clerk', attempts: 1, duplicate: false });
  t.is(Buffer.from(response.record?.payload ?? []).toString(), 'hi');
  const error = await failure(t, ask('no'));
  t.like(error, { reason: 'APPLICATION_ERROR', status: 'ABORTED', message: 'as you say' });
  t.like(error?.application, { code: 'NO', message: 'as you say' });
});

test('survey: across organisations; who is silent is named, and a link that is cut leaves it unknown', async t => {
  const { asker, clerk, GLOBEX, wire } = await scene(t);
  const silent = keeping();
  await clerk.respond('q', () => 'seven').opened;
  await (await GLOBEX.node('silent')).respond('q', silent.handler).opened;
  await (await GLOBEX.node('cross')).respond('q', () => Promise.reject(new RequestError('NO', 'no'))).opened;
  const survey = asker.survey(Q, 'how many?', { timeoutMs: 4_000 });
  const answers: string[] = [];
  for await (const { org, node, reply, error } of survey) answers.push(`${org}/${node} ${reply?.text ?? error?.code}`);
  t.deepEqual(answers.sort(), ['GLOBEX/clerk seven', 'GLOBEX/cross NO']);
  t.deepEqual(await survey.summary, {
    asked: 3,
    answered: 2,
    missing: [{ org: 'GLOBEX', node: 'silent', why: 'no answer' }],
  });
  const cut = asker.survey(Q, 'again', { timeoutMs: 30_000 });
  const error = await failure(
    t,
    (async () => {
      let count = 0;
      for await (const _ of cut) if (++count === 2) wire.cut();
    })(),
  );
  t.is(error?.reason, 'OUTCOME_UNKNOWN');
  const gone = await failure(
    t,
    (async () => void (await asker.survey('pubsub://ACME/q', 'x')[Symbol.asyncIterator]().next()))(),
  );
  t.is(gone?.reason, 'NO_RESPONDERS');
});
