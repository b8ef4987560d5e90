import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { Metadata } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { type ConnectOptions, connect, type FedgateClient } from '../../src/client/index.js';
import { FedgateError } from '../../src/errors.js';
import type { KeyAndCertificate } from '../../src/identity/issue.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { gatewayDnsName } from '../../src/identity/subject.js';
import { openChannel } from '../../src/transport/channel.js';
import { fromGrpcError } from '../../src/transport/status.js';
import { authorityOf, pairIn } from '../support/attack.js';
import { fedgate, startFedgate } from '../support/cli.js';
import { startFederation, type TestOrg, take } from '../support/federation.js';
import { AUDIENCE, makeSigningKey, startIssuer, type TestIssuer } from '../support/issuer.js';
import { FEDERATION, temporaryFolder } from '../support/registry.js';

const NODES = `nodes:
  - { node: billing, publish: ["**", "pubsub://GLOBEX/orders/**"], subscribe: ["**"], nodes: ["*"] }
  - { node: user, publish: ["users"] }
  - { node: erp, publish: ["**"], subscribe: ["**"], nodes: ["*"], respond: ["**"] }`;

const MODULE = `export default {
  async authenticate({ token, headers, method, signal }) {
    if (token === 'slow') return new Promise(() => undefined);
    if (token === 'throws') throw new Error('cannot tell ' + token);
    if (token === 'odd') return { node: '../x' };
    if (token === 'short') return { node: 'erp', expiresAtMs: Date.now() + 3_000 };
    if (headers.get('x-api-key') === 'open sesame' || token === 'erp-secret') return { node: 'erp' };
  },
};
`;

interface World {
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  readonly issuer: TestIssuer;
}

const undos: (() => unknown)[] = [];
const scope = { teardown: (undo: () => unknown) => void undos.unshift(undo) };
let world: World;

test.before(async () => {
  const issuer = await startIssuer(scope);
  const folder = await temporaryFolder(scope);
  await writeFile(join(folder, 'issuer.crt'), issuer.ca);
  await writeFile(join(folder, 'authenticator.mjs'), MODULE, { mode: 0o600 });
  const tokens = `authentication:
  tokens:
    - issuer: ${issuer.url}
      audience: [${AUDIENCE}]
      ca: ${join(folder, 'issuer.crt')}
      clockToleranceMs: 0
      keysLifetimeMs: 1000
      keysCooldownMs: 100`;
  const module = `authentication:
  module: ${join(folder, 'authenticator.mjs')}
  moduleTimeoutMs: 300`;
  const { ACME, GLOBEX } = await startFederation(scope, {
    ACME: { access: `${NODES}\npeers: [{ org: GLOBEX, publish: ["**"] }]`, extra: tokens },
    GLOBEX: { access: `${NODES}\npeers: [{ org: ACME, node: billing, publish: ["orders/**"] }]`, extra: module },
  });
  world = { ACME, GLOBEX, issuer };
});
test.after.always(async () => {
  for (const undo of undos) await undo();
});

async function target(org: TestOrg): Promise<ConnectOptions> {
  return {
    address: org.gateway.nodeAddress,
    serverName: gatewayDnsName(FEDERATION, org.name, 'gw1'),
    authorities: [(await authorityOf(org.folder)).certificate],
    connectTimeoutMs: 15_000,
  };
}

async function come(t: ExecutionContext, org: TestOrg, options: ConnectOptions): Promise<FedgateClient> {
  const client = await connect({ ...(await target(org)), ...options });
  t.teardown(() => client.close());
  return client;
}

/** How an attempt ends: `in`, or the reason with which it is refused. */
async function attempt(org: TestOrg, options: ConnectOptions): Promise<string> {
  try {
    (await connect({ ...(await target(org)), ...options })).close();
    return 'in';
  } catch (error) {
    if (!(error instanceof FedgateError)) throw error;
    return `${error.reason} ${error.metadata.why ?? ''}`.trim();
  }
}

async function nodeOf(org: TestOrg, name: string): Promise<KeyAndCertificate> {
  await org.context(name);
  return pairIn(orgFolder(org.folder).node(name));
}

test.serial(
  'tokens: a program with a token publishes to another organisation, which sees its node and grants by it',
  async t => {
    const { ACME, GLOBEX, issuer } = world;
    const billing = await come(t, ACME, { token: () => issuer.token(), node: 'billing' });
    const erp = await come(t, GLOBEX, { token: 'erp-secret' });
    const got = take(erp.subscribe('orders/*'), 1);
    const inbox = billing.subscribe(billing.inbox);
    await inbox.opened;
    const report = await billing.publish('pubsub://GLOBEX/orders/new', 'hello', { ack: 'received' });
    t.is(report.level, 'received');
    const [message] = await got;
    t.like(message, { senderOrg: 'ACME', senderNode: 'billing', text: 'hello' });
    const [there] = (await billing.nodes.list()).filter(({ node }) => node === 'billing');
    t.like(there, { state: 'connected', inbox: true });
    // Another token, another node, other rights: `users` is not `users/x`, nor what only begins like it.
    const user = await come(t, ACME, { token: await issuer.token({ sub: 'user' }) });
    t.is((await user.publish('users', 'x')).side, 'local');
    for (const channel of ['user', 'users/x', 'usersx', 'orders'])
      t.is((await t.throwsAsync<FedgateError>(user.publish(channel, 'x')))?.reason, 'NOT_GRANTED', channel);
  },
);

test.serial(
  'tokens: whoever shows nothing, or what is not believed, is refused, and the log never shows what it was',
  async t => {
    const { ACME, issuer } = world;
    const marker = 'very-sensitive';
    t.is(await attempt(ACME, { token: await issuer.token() }), 'in');
    t.is(await attempt(ACME, { token: await issuer.token({ aud: marker }) }), 'TOKEN_INVALID audience');
    t.is(await attempt(ACME, { token: await issuer.token({ iss: `https://${marker}` }) }), 'TOKEN_INVALID issuer');
    t.is(await attempt(ACME, { token: await issuer.token({ sub: `${marker}!` }) }), 'TOKEN_INVALID node');
    const stolen = await makeSigningKey();
    t.is(await attempt(ACME, { token: await issuer.token({ sub: marker }, stolen) }), 'TOKEN_INVALID key');
    t.is(await attempt(ACME, { token: 'no-jwt' }), 'TOKEN_INVALID issuer');
    t.is(await attempt(ACME, { token: 'a'.repeat(8_193) }), 'TOKEN_INVALID size');
    t.is(await attempt(ACME, { token: await issuer.token({ exp: 1 }) }), 'TOKEN_EXPIRED');
    await ACME.logged(event => event.security === true && event.err?.reason === 'TOKEN_INVALID');
    const nothing = await raw(ACME, {});
    t.is(nothing, 'CERTIFICATE_MISSING');
    const log = JSON.stringify(ACME.events);
    t.false(log.includes(marker));
    t.false(log.includes('no-jwt'));
  },
);

test.serial(
  'tokens: a certificate that is shown must be good, and a token beside it must name the same node',
  async t => {
    const { ACME, GLOBEX, issuer } = world;
    const identity = await nodeOf(ACME, 'billing');
    t.is(await attempt(ACME, { identity }), 'in');
    t.is(await attempt(ACME, { identity, token: await issuer.token() }), 'in');
    t.is(await attempt(ACME, { identity, token: await issuer.token({ sub: 'user' }) }), 'IDENTITY_MISMATCH');
    t.is(await attempt(ACME, { identity, token: await issuer.token({ aud: 'x' }) }), 'TOKEN_INVALID audience');
    const foreign = await nodeOf(GLOBEX, 'billing');
    t.is(
      await attempt(ACME, { identity: foreign, token: await issuer.token(), connectTimeoutMs: 1_000 }),
      'GATEWAY_UNREACHABLE',
    );
    await ACME.logged(event => event.security === true && event.err?.reason === 'CERTIFICATE_UNTRUSTED');
    const gateway = await pairIn(orgFolder(ACME.folder).gateway('gw1'));
    t.is(await attempt(ACME, { identity: gateway, token: await issuer.token() }), 'CERTIFICATE_ROLE');
  },
);

/** Calls with these headers and no certificate; the reason of the refusal, or `in`. */
async function raw(org: TestOrg, headers: Record<string, string>): Promise<string> {
  const { authorities, serverName } = await target(org);
  const channel = openChannel({
    ...{ address: org.gateway.nodeAddress, serverName: serverName ?? '', authorities: authorities ?? [] },
    ...{ window: 65_536, maxReceiveBytes: 65_536 },
  });
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const same = (bytes: Buffer): Buffer => bytes;
  try {
    const error = await new Promise<unknown>(resolve =>
      channel.makeUnaryRequest('/grpc.health.v1.Health/Check', same, same, Buffer.alloc(0), metadata, {}, resolve),
    );
    return error ? fromGrpcError(error).reason : 'in';
  } finally {
    channel.close();
  }
}

/** Calls with several headers `authorization`, which no library does: HTTP/2 by hand, header names and values as literals. */
async function rawTwice(t: ExecutionContext, org: TestOrg, authorizations: readonly string[]): Promise<void> {
  const { authorities, serverName } = await target(org);
  const [host = '', port = ''] = org.gateway.nodeAddress.split(':');
  const socket = connectTls({
    ...{ host, port: Number(port), ca: [...(authorities ?? [])], servername: serverName ?? '', ALPNProtocols: ['h2'] },
  });
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value);
    // RFC 7541, section 5.1: an integer with a prefix of 7 bits.
    const head = [Math.min(bytes.length, 127)];
    for (let rest = bytes.length - 127; rest >= 0; rest = rest < 128 ? -1 : rest >> 7)
      head.push(rest < 128 ? rest : (rest & 127) | 128);
    return Buffer.concat([Buffer.from(head), bytes]);
  };
  const headers = [
    ...[':method', 'POST', ':path', '/grpc.health.v1.Health/Check', ':scheme', 'https', ':authority', 'x'],
    ...['content-type', 'application/grpc', 'te', 'trailers'],
    ...authorizations.flatMap(value => ['authorization', value]),
  ];
  const block = Buffer.concat(
    headers.flatMap((item, i) => (i % 2 === 0 ? [Buffer.from([0]), text(item)] : [text(item)])),
  );
  const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  };
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(4, 0, 0, Buffer.alloc(0)));
  socket.write(frame(1, 4, 1, block));
  socket.write(frame(0, 1, 1, Buffer.from([0, 0, 0, 0, 0])));
}

test.serial('tokens: of several headers `authorization` none counts', async t => {
  const { ACME, issuer } = world;
  const good = `Bearer ${await issuer.token()}`;
  t.is(await raw(ACME, { authorization: good }), 'in');
  t.is(await raw(ACME, { authorization: `${good}, ${good}` }), 'TOKEN_INVALID');
  t.is(await raw(ACME, { authorization: `Basic ${Buffer.from('a:b').toString('base64')}` }), 'TOKEN_INVALID');
  const several = () => ACME.events.filter(({ err }) => err?.message?.includes('several headers') === true).length;
  for (const second of ['Bearer other', good]) {
    const before = several();
    await rawTwice(t, ACME, [good, second]);
    await ACME.logged(() => several() > before);
  }
});

test.serial(
  'tokens: a stream ends with its token, and the SDK comes back with the next: nothing durable is lost, nothing twice',
  async t => {
    const { ACME, issuer } = world;
    let asked = 0;
    const token = (): Promise<string> => {
      asked++;
      return issuer.token({ exp: Date.now() / 1_000 + 2.5 } as never);
    };
    const publisher = await come(t, ACME, { token: () => issuer.token() });
    const client = await come(t, ACME, { token });
    const ends: string[] = [];
    client.on('disconnected', error => void ends.push(error.reason));
    const got: string[] = [];
    const subscription = client.subscribe('expiry/*', { durable: 'expiry' });
    await subscription.opened;
    const reading = (async () => {
      for await (const message of subscription) {
        got.push(`${message.channel} ${message.text}`);
        await message.ack();
        if (message.text === 'last') break;
      }
    })();
    for (let i = 0; ends.length < 2; i++) {
      await publisher.publish('expiry/x', `${i}`);
      await client.publish('expiry/y', `${i}`);
      await new Promise(resolve => setTimeout(resolve, 50));
    }
    await publisher.publish('expiry/x', 'last');
    await reading;
    t.deepEqual([...new Set(ends)], ['TOKEN_EXPIRED']);
    t.true(asked >= 3);
    t.is(new Set(got).size, got.length, 'nothing came twice');
    const numbers = (got.length - 1) / 2;
    const all = Array.from({ length: numbers }, (_, i) => [`expiry/x ${i}`, `expiry/y ${i}`]).flat();
    t.deepEqual([...got].sort(), [...all, 'expiry/x last'].sort());
  },
);

test.serial('tokens: a token that stays what it is ends the program with TOKEN_EXPIRED', async t => {
  const { ACME, issuer } = world;
  const client = await come(t, ACME, { token: await issuer.token({ exp: Date.now() / 1_000 + 6 } as never) });
  const error = await t.throwsAsync<FedgateError>(take(client.subscribe('never/*'), 1));
  t.is(error?.reason, 'TOKEN_EXPIRED');
});

test.serial('tokens: when the issuer gives up a key its streams end, and those of the next key stay', async t => {
  const { ACME, issuer } = world;
  const old = issuer.keys;
  const leaked = await makeSigningKey();
  issuer.keys = [...old, leaked];
  t.teardown(() => {
    issuer.keys = old;
  });
  await new Promise(resolve => setTimeout(resolve, 1_000));
  const thief = await come(t, ACME, { token: await issuer.token({}, leaked) });
  const honest = await come(t, ACME, { token: await issuer.token() });
  const stays = honest.subscribe('keys/*');
  const cut = take(thief.subscribe('keys/*'), 1);
  await stays.opened;
  issuer.keys = old;
  await new Promise(resolve => setTimeout(resolve, 1_000));
  // Whoever calls next makes the gateway look.
  await come(t, ACME, { token: await issuer.token() });
  t.is((await t.throwsAsync<FedgateError>(cut))?.reason, 'TOKEN_INVALID');
  await honest.publish('keys/x', 'still there');
  t.is((await take(stays, 1))[0]?.text, 'still there');
});

test.serial(
  "module: the operator's own decides by token or by any header, within its deadline; what it throws refuses",
  async t => {
    const { GLOBEX } = world;
    t.is(await attempt(GLOBEX, { token: 'erp-secret' }), 'in');
    t.is(await raw(GLOBEX, { 'x-api-key': 'open sesame' }), 'in');
    t.is(await raw(GLOBEX, { 'x-api-key': 'guess' }), 'TOKEN_INVALID');
    t.is(await attempt(GLOBEX, { token: 'unknown' }), 'TOKEN_INVALID module');
    t.is(await attempt(GLOBEX, { token: 'throws' }), 'TOKEN_INVALID module');
    t.is(await attempt(GLOBEX, { token: 'odd' }), 'TOKEN_INVALID module');
    t.is(await attempt(GLOBEX, { token: 'slow', connectTimeoutMs: 100 }), 'AUTHENTICATOR_UNAVAILABLE');
    t.false(JSON.stringify(GLOBEX.events).includes('cannot tell'));
    const short = await come(t, GLOBEX, { token: 'short' });
    const ended = once(short, 'disconnected');
    await short.subscribe('a').opened;
    t.is(((await ended) as [FedgateError])[0].reason, 'TOKEN_EXPIRED');
  },
);

test.serial('cli: a token comes from a file, by option, variable or context, and never as an argument', async t => {
  const { ACME, issuer } = world;
  const folder = await temporaryFolder(t);
  const file = join(folder, 'token');
  await writeFile(file, `${await issuer.token()}\n`, { mode: 0o600 });
  const context = await ACME.context('user');
  const pub = ['pub', '--context', context, 'anything', 'x'];
  const reader = (await ACME.node('erp')).subscribe('anything');
  await reader.opened;
  t.is((await fedgate(pub)).code, 4);
  const given = await fedgate([...pub, '--token-file', file]);
  t.is(given.code, 0, given.stderr);
  t.is((await fedgate(pub, { variables: { FEDGATE_TOKEN_FILE: file } })).code, 0);
  const config = join(folder, 'config');
  await mkdir(config);
  const { address = '', serverName = '' } = await target(ACME);
  const ca = join(orgFolder(ACME.folder).authority, 'tls.crt');
  const settings = { variables: { FEDGATE_CONFIG_DIR: config } };
  const add = [
    'context',
    'add',
    'ci',
    '--gateway',
    address,
    '--server-name',
    serverName,
    '--ca',
    ca,
    '--token-file',
    file,
  ];
  const added = await fedgate(add, settings);
  t.is(added.code, 0, added.stderr);
  const by = startFedgate(t, ['pub', 'anything', 'x'], settings.variables);
  t.is(await by.exited, 0, by.stderr);
  await chmod(file, 0o644);
  const exposed = await fedgate([...pub, '--token-file', file]);
  t.regex(exposed.stderr, /KEY_EXPOSED/);
});
