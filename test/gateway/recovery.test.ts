import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { FedgateClient } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import type { FedgateError } from '../../src/errors.js';
import { allMet, startFederation, startTestOrg, type TestOrg } from '../support/federation.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { LIVE } from '../support/live.js';
import { startTestRegistry } from '../support/registry.js';

const ACCEPT = `nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]
peers: [{ org: "*", publish: ["orders/*"] }]`;
const UP = 3;
/** For what is to happen at some time: more than a busy machine takes. */
const LONG_MS = 30_000;

const linkOf = (org: TestOrg, peer: string) => org.gateway.status().links.find(link => link.org === peer);
const linked = (org: TestOrg, peer: string) =>
  linkOf(org, peer)?.state === UP
    ? Promise.resolve()
    : org.logged(event => event.msg === 'link' && event.org === peer && event.state === 'up').then(() => undefined);

/** Runs until it gives something. Polling is what the subject offers: a status. */
async function eventually<T>(ask: () => Promise<T | undefined> | T | undefined, withinMs: number): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await ask();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms`);
    await new Promise(resolve => setTimeout(resolve, 15));
  }
}

/** Publishes numbers, one after the other, for ever; those that were refused are not tried again. */
function chatter(publisher: FedgateClient, address: string) {
  const failures: string[] = [];
  let running = true;
  let sent = 0;
  const done = (async () => {
    while (running) {
      const payload = String(++sent);
      await publisher.publish(address, payload, LIVE).catch((error: FedgateError) => failures.push(error.reason));
      await new Promise(resolve => setTimeout(resolve, 5));
    }
  })();
  return {
    failures,
    get sent() {
      return sent;
    },
    stop: () => {
      running = false;
      return done;
    },
  };
}

/** Collects what a subscription hears. */
function listen(client: FedgateClient, pattern: string) {
  const heard: number[] = [];
  const losses: string[] = [];
  const subscription = client.subscribe(pattern, { onLoss: loss => losses.push(loss.why) });
  let failure: unknown;
  void (async () => {
    try {
      for await (const message of subscription) heard.push(Number(message.text));
    } catch (error) {
      failure = error;
    }
  })();
  return {
    subscription,
    heard,
    losses,
    /** Resolves once something later than what was heard until now arrives. */
    next: async (withinMs: number) => {
      const last = heard.at(-1) ?? 0;
      const fromMs = performance.now();
      await eventually(() => {
        if (failure) throw failure;
        return (heard.at(-1) ?? 0) > last ? true : undefined;
      }, withinMs);
      return performance.now() - fromMs;
    },
  };
}

const rising = (t: ExecutionContext, heard: readonly number[]): void => {
  t.deepEqual(
    [...heard].sort((a, b) => a - b),
    heard,
    'in order',
  );
  t.is(new Set(heard).size, heard.length, 'no duplicates');
};

async function twoProcesses(t: ExecutionContext) {
  const registry = await startTestRegistry(t);
  const acme = await GatewayProcess.join(t, registry, 'ACME', ACCEPT);
  const globex = await GatewayProcess.join(t, registry, 'GLOBEX', ACCEPT);
  const publisher = await acme.node(t, 'pub');
  const subscriber = await globex.node(t, 'sub');
  const ears = listen(subscriber, 'orders/*');
  await ears.subscription.opened;
  await eventually(
    () =>
      publisher.publish('pubsub://GLOBEX/orders/n', '0', LIVE).then(
        () => true,
        () => undefined,
      ),
    LONG_MS,
  );
  return { registry, acme, globex, publisher, subscriber, ears };
}

test('recovery: the receiving gateway, killed and started again, is found by both sides within 3 s', async t => {
  const { globex, publisher, ears } = await twoProcesses(t);
  const voice = chatter(publisher, 'pubsub://GLOBEX/orders/n');
  await ears.next(5_000);
  await globex.kill();
  await eventually(() => (voice.failures.includes('PEER_UNREACHABLE') ? true : undefined), LONG_MS);
  // The longer it is away, the longer the back-off of whoever dials it.
  await new Promise(resolve => setTimeout(resolve, 3_000));
  await globex.start();
  const backMs = await ears.next(15_000);
  const tookMs = await ears.next(5_000);
  await voice.stop();
  t.log(`heard again ${Math.round(backMs)} ms after the gateway had started; then after ${Math.round(tookMs)} ms`);
  t.true(backMs < 5_000, `${backMs}`);
  rising(t, ears.heard);
  t.deepEqual(ears.losses, ['disconnected']);
  t.true(
    voice.failures.every(reason => ['PEER_UNREACHABLE', 'OUTCOME_UNKNOWN'].includes(reason)),
    voice.failures.join(),
  );
});

test('recovery: the sending gateway, killed and started again, is found by its publisher within 3 s', async t => {
  const { acme, publisher, ears } = await twoProcesses(t);
  const voice = chatter(publisher, 'pubsub://GLOBEX/orders/n');
  await ears.next(5_000);
  await acme.kill();
  await new Promise(resolve => setTimeout(resolve, 1_000));
  await acme.start();
  const backMs = await ears.next(15_000);
  await voice.stop();
  t.log(`heard again ${Math.round(backMs)} ms after the gateway had started`);
  t.true(backMs < 5_000, `${backMs}`);
  rising(t, ears.heard);
  t.true(
    voice.failures.every(reason => ['PEER_UNREACHABLE', 'OUTCOME_UNKNOWN'].includes(reason)),
    voice.failures.join(),
  );
});

test('recovery: SIGTERM drains: exit code 0, soon, and the subscriber is back after the restart', async t => {
  const { acme, globex, publisher, ears } = await twoProcesses(t);
  const voice = chatter(publisher, 'pubsub://GLOBEX/orders/n');
  await ears.next(5_000);
  const fromMs = performance.now();
  t.is(await globex.kill('SIGTERM'), 0);
  const stopMs = performance.now() - fromMs;
  await globex.start();
  await ears.next(5_000);
  const senderMs = performance.now();
  t.is(await acme.kill('SIGTERM'), 0);
  const senderStopMs = performance.now() - senderMs;
  await acme.start();
  await ears.next(6_000);
  await voice.stop();
  t.log(`stopped in ${Math.round(stopMs)} ms and ${Math.round(senderStopMs)} ms, with open streams`);
  t.true(stopMs < 3_000 && senderStopMs < 3_000);
  t.deepEqual(
    globex.events.map(event => event.msg).filter(msg => msg === 'draining' || msg === 'gateway stopped'),
    ['draining', 'gateway stopped'],
  );
  rising(t, ears.heard);
});

test('recovery: with the registry away, organisations that know each other go on', async t => {
  const { registry, ACME, GLOBEX } = await startFederation(t, { ACME: { access: ACCEPT }, GLOBEX: { access: ACCEPT } });
  await (await ACME.node('first')).publish('pubsub://GLOBEX/orders/n', '0', LIVE);
  await registry.stop();
  const ears = listen(await GLOBEX.node('sub'), 'orders/*');
  await ears.subscription.opened;
  t.like(await (await ACME.node('pub')).publish('pubsub://GLOBEX/orders/n', '1', LIVE), { subscribers: 1 });
  await GLOBEX.stop();
  await GLOBEX.start();
  const publisher = await ACME.node('pub2');
  await eventually(
    () =>
      publisher.publish('pubsub://GLOBEX/orders/n', '2', LIVE).then(
        report => (report.subscribers === 1 ? true : undefined),
        () => undefined,
      ),
    LONG_MS,
  );
  await registry.start();
});

test('recovery: a suspended organisation is cut within 5 s and refused; resumed, it is back', async t => {
  const { registry, ACME, GLOBEX } = await startFederation(t, { ACME: { access: ACCEPT }, GLOBEX: { access: ACCEPT } });
  const publisher = await ACME.node('pub');
  const back = await GLOBEX.node('back');
  const ears = listen(await GLOBEX.node('sub'), 'orders/*');
  await ears.subscription.opened;
  await publisher.publish('pubsub://GLOBEX/orders/n', '1', LIVE);
  const fromMs = performance.now();
  await registry.admin.setState('ACME', 'suspended');
  await eventually(() => (linkOf(GLOBEX, 'ACME')?.state === UP ? undefined : true), 5_000);
  t.log(`cut after ${Math.round(performance.now() - fromMs)} ms`);
  t.is((await t.throwsAsync<FedgateError>(back.publish('pubsub://ACME/orders/n', 'x', LIVE)))?.reason, 'ORG_INACTIVE');
  const refused = await t.throwsAsync<FedgateError>(publisher.publish('pubsub://GLOBEX/orders/n', 'x', LIVE));
  t.is(refused?.reason, 'ORG_INACTIVE', refused?.message);
  t.like(await publisher.publish('orders/own', 'x'), { side: 'local' }, 'its own nodes are still served');
  await registry.admin.setState('ACME', 'active');
  await eventually(
    () =>
      publisher.publish('pubsub://GLOBEX/orders/n', '2', LIVE).then(
        () => true,
        () => undefined,
      ),
    LONG_MS,
  );
  await eventually(
    () =>
      back.publish('pubsub://ACME/orders/n', '2', LIVE).then(
        () => true,
        () => undefined,
      ),
    LONG_MS,
  );
  await eventually(() => (ears.heard.length > 1 ? true : undefined), LONG_MS);
  t.deepEqual(ears.heard, [1, 2]);
});

test('recovery: a gateway without an address works by dialling out, in both directions', async t => {
  const { HIDDEN, OPEN } = await startFederation(t, {
    HIDDEN: { access: ACCEPT, reachable: false },
    OPEN: { access: ACCEPT },
  });
  await linked(OPEN, 'HIDDEN');
  const inside = await HIDDEN.node('n');
  const outside = await OPEN.node('n');
  const [a, b] = [listen(inside, 'orders/*'), listen(outside, 'orders/*')];
  await Promise.all([a.subscription.opened, b.subscription.opened]);
  t.like(await outside.publish('pubsub://HIDDEN/orders/n', '1', LIVE), { subscribers: 1 });
  t.like(await inside.publish('pubsub://OPEN/orders/n', '1', LIVE), { subscribers: 1 });
  t.is(linkOf(OPEN, 'HIDDEN')?.dialled, false);
  await HIDDEN.stop();
  const refused = await t.throwsAsync<FedgateError>(outside.publish('pubsub://HIDDEN/orders/n', 'x', LIVE));
  t.true(['PEER_UNREACHABLE', 'OUTCOME_UNKNOWN'].includes(refused?.reason ?? ''));
  await HIDDEN.start();
  await eventually(
    () =>
      outside.publish('pubsub://HIDDEN/orders/n', '2', LIVE).then(
        () => true,
        () => undefined,
      ),
    LONG_MS,
  );
});

test('recovery: both sides dialling at once end with one link, the same for both', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: { access: ACCEPT }, GLOBEX: { access: ACCEPT } });
  for (let round = 0; round < 6; round++) {
    const fromA = (await ACME.node(`a${round}`)).publish('pubsub://GLOBEX/orders/n', 'x', LIVE);
    const fromG = (await GLOBEX.node(`g${round}`)).publish('pubsub://ACME/orders/n', 'x', LIVE);
    await Promise.allSettled([fromA, fromG]);
    const pair = await eventually(() => {
      const [a, g] = [linkOf(ACME, 'GLOBEX'), linkOf(GLOBEX, 'ACME')];
      return a?.state === UP && g?.state === UP && a.dialled !== g.dialled ? { a, g } : undefined;
    }, LONG_MS);
    t.is(pair.a.dialled, !pair.g.dialled, `round ${round}`);
    // What was superseded is closed, and the link that stays carries both ways.
    t.like(await (await ACME.node('a')).publish('pubsub://GLOBEX/orders/n', 'x', LIVE), { side: 'remote' });
    t.like(await (await GLOBEX.node('g')).publish('pubsub://ACME/orders/n', 'x', LIVE), { side: 'remote' });
    await Promise.all([ACME.stop(), GLOBEX.stop()]);
    await Promise.all([ACME.start(), GLOBEX.start()]);
  }
});

/** A wire that can be made to swallow everything without being closed. */
async function wire(t: ExecutionContext, target: string) {
  const [host = '', port = ''] = target.split(':');
  const sockets = new Set<Socket>();
  let cut = false;
  const server = createServer(near => {
    const far = connectSocket(Number(port), host);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', chunk => cut || to.write(chunk));
      from.on('error', () => undefined);
      from.on('close', () => cut || to.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      cut = true;
    },
  };
}

test('recovery: a peer behind a wire that swallows everything is given up after deadAfterMs', async t => {
  const registry = await startTestRegistry(t);
  const extra = 'links: { heartbeatMs: 500, deadAfterMs: 3000, dial: demand }';
  const peers = await freePort();
  const cable = await wire(t, `127.0.0.1:${peers}`);
  const GLOBEX = await startTestOrg(t, registry, 'GLOBEX', {
    access: ACCEPT,
    extra,
    peers: `127.0.0.1:${peers}`,
    addresses: [cable.address],
  });
  const ACME = await startTestOrg(t, registry, 'ACME', { access: ACCEPT, extra });
  await allMet(registry, ACME, GLOBEX);
  const publisher = await ACME.node('pub');
  // Until all lanes are open it is the dial that gives up.
  await publisher.publish('pubsub://GLOBEX/orders/n', 'x', { ack: 'received' });
  const before = new Set([...ACME.events, ...GLOBEX.events]);
  cable.cut();
  const fromMs = performance.now();
  const report = t.throwsAsync<FedgateError>(publisher.publish('pubsub://GLOBEX/orders/n', 'lost', LIVE));
  await ACME.logged(event => event.msg === 'link' && event.state === 'backoff' && !before.has(event));
  const tookMs = performance.now() - fromMs;
  t.log(`given up after ${Math.round(tookMs)} ms`);
  t.true(tookMs >= 2_000 && tookMs < 15_000, `${tookMs}`);
  t.is((await report)?.reason, 'OUTCOME_UNKNOWN');
  await GLOBEX.logged(event => event.msg === 'link' && event.state !== 'up' && !before.has(event));
  const stopMs = performance.now();
  await GLOBEX.stop();
  t.true(performance.now() - stopMs < 3_000, 'connections that are silent do not hold up the stop');
});

test('recovery: when the first address is dead the second is used', async t => {
  const registry = await startTestRegistry(t);
  const peers = `127.0.0.1:${await freePort()}`;
  const dead = `127.0.0.1:${await freePort()}`;
  const GLOBEX = await startTestOrg(t, registry, 'GLOBEX', {
    access: ACCEPT,
    peers,
    addresses: [dead, peers],
    extra: 'links: { dial: demand }',
  });
  const ACME = await startTestOrg(t, registry, 'ACME', { access: ACCEPT });
  await allMet(registry, ACME, GLOBEX);
  t.like(await (await ACME.node('n')).publish('pubsub://GLOBEX/orders/n', 'x', LIVE), { side: 'remote' });
  t.is(linkOf(ACME, 'GLOBEX')?.address, peers);
  t.is(linkOf(GLOBEX, 'ACME')?.state, UP);
});

test('recovery: a publish to a peer that is down answers PEER_UNREACHABLE at once, and nothing is queued', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: { access: ACCEPT }, GLOBEX: { access: ACCEPT } });
  const publisher = await ACME.node('pub');
  await publisher.publish('pubsub://GLOBEX/orders/n', 'before', LIVE);
  await GLOBEX.stop();
  await eventually(() => (linkOf(ACME, 'GLOBEX')?.state === UP ? undefined : true), LONG_MS);
  const fromMs = performance.now();
  const errors = await Promise.all(
    Array.from({ length: 20 }, () =>
      t.throwsAsync<FedgateError>(publisher.publish('pubsub://GLOBEX/orders/n', 'down', LIVE)),
    ),
  );
  t.true(performance.now() - fromMs < 10_000);
  for (const error of errors) {
    t.is(error?.reason, 'PEER_UNREACHABLE');
    t.true(error?.retryable);
    t.true((error?.retryAfterMs ?? 0) > 0 && (error?.retryAfterMs ?? 0) <= 30_000);
  }
  await GLOBEX.start();
  const heard: string[] = [];
  const subscription = (await GLOBEX.node('sub')).subscribe('orders/*');
  await subscription.opened;
  void (async () => {
    for await (const message of subscription) heard.push(message.text);
  })();
  await eventually(
    () =>
      publisher.publish('pubsub://GLOBEX/orders/n', 'after', LIVE).then(
        () => true,
        () => undefined,
      ),
    LONG_MS,
  );
  await eventually(() => (heard.length > 0 ? true : undefined), LONG_MS);
  t.deepEqual(heard, ['after']);
});
