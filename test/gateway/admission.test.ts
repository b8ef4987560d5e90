import { X509Certificate } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { FederationServiceService } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { MessagingServiceService, PublishRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { HealthService as HealthDefinition } from '../../gen/ts/grpc/health/v1/health.js';
import { connect } from '../../src/client/index.js';
import { FedgateError, type Reason } from '../../src/errors.js';
import { createAuthority, issueLeaf, type KeyAndCertificate } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { gatewayDnsName } from '../../src/identity/subject.js';
import { HealthService } from '../../src/services/health.js';
import { CallWrapper } from '../../src/transport/calls.js';
import { Listener } from '../../src/transport/server.js';
import { ask, authorityOf, forge, LEAF_EXTENSIONS, pairIn, rawChannel } from '../support/attack.js';
import { type LogEvent, startFederation, type TestOrg } from '../support/federation.js';
import { FEDERATION } from '../support/registry.js';

const ACME_NAME = 'ACME' as OrgName;
const GLOBEX_NAME = 'GLOBEX' as OrgName;
const PUBLISH = MessagingServiceService.publish.path;
const OPEN_LANE = FederationServiceService.openLane.path;
const REQUEST = PublishRequest.encode(
  PublishRequest.fromPartial({ address: 'x', records: [{ payload: Buffer.from('x') }] }),
).finish();

const two = (t: ExecutionContext) => startFederation(t, { ACME: {}, GLOBEX: {} });

interface Door {
  readonly org: TestOrg;
  readonly port: 'node' | 'peer';
}

/** Knocks at a port with a certificate; gives back what was answered. */
async function knock(t: ExecutionContext, { org, port }: Door, identity?: KeyAndCertificate): Promise<FedgateError> {
  const ca = (await authorityOf(org.folder)).certificate;
  const address = port === 'node' ? org.gateway.nodeAddress : org.gateway.peerAddress;
  const channel = rawChannel(t, address, [ca], identity);
  const answer = await ask(channel, port === 'node' ? PUBLISH : OPEN_LANE, port === 'node' ? REQUEST : undefined);
  if (answer instanceof FedgateError) return answer;
  throw new Error('the call was served');
}

/** Refused by TLS: no handler heard of it, and it is a security event. */
async function refusedByTls(t: ExecutionContext, door: Door, identity?: KeyAndCertificate): Promise<void> {
  const handshakes = door.org.events.filter(isRefusedHandshake).length;
  const error = await knock(t, door, identity);
  t.is(error.reason, 'GATEWAY_UNREACHABLE', error.message);
  await door.org.logged(
    event => isRefusedHandshake(event) && door.org.events.filter(isRefusedHandshake).length > handshakes,
  );
  t.is(door.org.gateway.status().rates?.publishedTotal, 0n);
}

const isRefusedHandshake = (event: LogEvent): boolean =>
  event.security === true && event.err?.message?.startsWith('the TLS handshake failed') === true;

/** Refused by us: with a reason, counted, and as a security event. */
async function refusedByUs(
  t: ExecutionContext,
  door: Door,
  reason: Reason,
  identity: KeyAndCertificate,
): Promise<void> {
  const refusedBefore = door.org.gateway.status().rates?.refusedTotal ?? 0n;
  const error = await knock(t, door, identity);
  t.is(error.reason, reason, error.message);
  await door.org.logged(event => event.security === true && event.err?.reason === reason);
  // A client that tries again counts again.
  t.true((door.org.gateway.status().rates?.refusedTotal ?? 0n) > refusedBefore);
  t.is(door.org.gateway.status().rates?.publishedTotal, 0n);
}

const PORTS = ['node', 'peer'] as const;

test('admission: no certificate, a self-signed one and one of a stranger are refused by TLS on both ports', async t => {
  const { GLOBEX } = await two(t);
  const stranger = await createAuthority(FEDERATION, 'GLOBEX');
  for (const port of PORTS) {
    const door = { org: GLOBEX, port };
    const role = port === 'node' ? 'node' : 'gateway';
    await refusedByTls(t, door);
    await refusedByTls(
      t,
      door,
      await forge([...LEAF_EXTENSIONS, `subjectAltName=URI:spiffe://globex.${FEDERATION}/${role}/gw1`]),
    );
    await refusedByTls(t, door, await issueLeaf(stranger, FEDERATION, { org: GLOBEX_NAME, role, name: 'gw1' }));
  }
});

test('admission: a node of another organisation is refused by TLS on the node port', async t => {
  const { ACME, GLOBEX } = await two(t);
  const node = await issueLeaf(await authorityOf(ACME.folder), FEDERATION, { org: ACME_NAME, role: 'node', name: 'n' });
  await refusedByTls(t, { org: GLOBEX, port: 'node' }, node);
});

test('admission: an expired certificate is refused on both ports', async t => {
  const { ACME, GLOBEX } = await two(t);
  const acme = await authorityOf(ACME.folder);
  const globex = await authorityOf(GLOBEX.folder);
  const gateway = await issueLeaf(acme, FEDERATION, { org: ACME_NAME, role: 'gateway', name: 'gw1' }, -1);
  const node = await issueLeaf(globex, FEDERATION, { org: GLOBEX_NAME, role: 'node', name: 'n' }, -1);
  t.true(Date.parse(new X509Certificate(node.certificate).validTo) < Date.now());
  await refusedByTls(t, { org: GLOBEX, port: 'peer' }, gateway);
  await refusedByTls(t, { org: GLOBEX, port: 'node' }, node);
});

test('admission: a certificate of the wrong kind is refused with CERTIFICATE_ROLE', async t => {
  const { ACME, GLOBEX } = await two(t);
  const node = await issueLeaf(await authorityOf(ACME.folder), FEDERATION, { org: ACME_NAME, role: 'node', name: 'n' });
  await refusedByUs(t, { org: GLOBEX, port: 'peer' }, 'CERTIFICATE_ROLE', node);
  const gateway = await pairIn(orgFolder(GLOBEX.folder).gateway('gw1'));
  await refusedByUs(t, { org: GLOBEX, port: 'node' }, 'CERTIFICATE_ROLE', gateway);
});

test("admission: what ACME's CA says about GLOBEX counts on neither port", async t => {
  const { ACME, GLOBEX } = await two(t);
  const acme = await authorityOf(ACME.folder);
  const node = await issueLeaf(acme, FEDERATION, { org: GLOBEX_NAME, role: 'node', name: 'n' });
  await refusedByTls(t, { org: GLOBEX, port: 'node' }, node);
  const gateway = await issueLeaf(acme, FEDERATION, { org: GLOBEX_NAME, role: 'gateway', name: 'gw1' });
  await refusedByUs(t, { org: GLOBEX, port: 'peer' }, 'CERTIFICATE_UNTRUSTED', gateway);
  await refusedByUs(t, { org: ACME, port: 'peer' }, 'CERTIFICATE_UNTRUSTED', gateway);
});

test("admission: GLOBEX's CA saying ACME opens nothing of ACME's", async t => {
  const { ACME, GLOBEX } = await two(t);
  const forged = await issueLeaf(await authorityOf(GLOBEX.folder), FEDERATION, {
    org: ACME_NAME,
    role: 'node',
    name: 'n',
  });
  await refusedByUs(t, { org: GLOBEX, port: 'node' }, 'CERTIFICATE_UNTRUSTED', forged);
  await refusedByTls(t, { org: ACME, port: 'node' }, forged);
});

const acmeUri = (role: string, name = 'gw1'): string => `URI:spiffe://acme.${FEDERATION}/${role}/${name}`;
const NAMES: readonly { readonly title: string; readonly san: readonly string[] }[] = [
  { title: 'two URI names', san: [acmeUri('gateway'), `URI:spiffe://globex.${FEDERATION}/gateway/gw1`] },
  { title: 'the same URI name twice', san: [acmeUri('gateway'), acmeUri('gateway')] },
  { title: 'no URI name', san: [`DNS:gw1.acme.${FEDERATION}`] },
  { title: 'a name of another federation', san: ['URI:spiffe://acme.other.example/gateway/gw1'] },
  { title: 'an upper-case name', san: [`URI:spiffe://ACME.${FEDERATION}/gateway/gw1`] },
  { title: 'a query behind the name', san: [`${acmeUri('gateway')}?x=1`] },
  { title: 'a name that is no member', san: [`URI:spiffe://nobody.${FEDERATION}/gateway/gw1`] },
];
test('admission: a certificate with other names than one exact URI is refused with CERTIFICATE_UNTRUSTED', async t => {
  const { ACME, GLOBEX } = await two(t);
  const acme = await authorityOf(ACME.folder);
  for (const { title, san } of NAMES) {
    const leaf = await forge([...LEAF_EXTENSIONS, `subjectAltName=${san.join(',')}`], acme);
    const error = await knock(t, { org: GLOBEX, port: 'peer' }, leaf);
    t.is(error.reason, 'CERTIFICATE_UNTRUSTED', title);
  }
});

test('admission: a CA certificate, and a leaf of an intermediate CA, are no identity', async t => {
  const { ACME, GLOBEX } = await two(t);
  const acme = await authorityOf(ACME.folder);
  const refused: Reason[] = ['CERTIFICATE_UNTRUSTED', 'GATEWAY_UNREACHABLE'];
  const caLeaf = await forge(
    [
      'basicConstraints=critical,CA:TRUE',
      'keyUsage=critical,digitalSignature,keyCertSign',
      'extendedKeyUsage=serverAuth,clientAuth',
      `subjectAltName=${acmeUri('gateway')}`,
    ],
    acme,
  );
  const below = await issueLeaf(caLeaf, FEDERATION, { org: ACME_NAME, role: 'gateway', name: 'gw1' });
  const chained = { key: below.key, certificate: below.certificate + caLeaf.certificate };
  for (const identity of [acme, caLeaf, below, chained]) {
    const { reason } = await knock(t, { org: GLOBEX, port: 'peer' }, identity);
    t.true(refused.includes(reason), reason);
  }
  await GLOBEX.logged(event => event.security === true && event.err?.reason === 'CERTIFICATE_UNTRUSTED');
});

test('admission: a leaf for clients only is refused', async t => {
  const { ACME, GLOBEX } = await two(t);
  const extensions = [
    'basicConstraints=critical,CA:FALSE',
    'extendedKeyUsage=clientAuth',
    `subjectAltName=${acmeUri('gateway')}`,
  ];
  const leaf = await forge(extensions, await authorityOf(ACME.folder));
  await refusedByUs(t, { org: GLOBEX, port: 'peer' }, 'CERTIFICATE_UNTRUSTED', leaf);
});

test('admission: the peer port has no messaging, administration, reflection or health', async t => {
  const { ACME, GLOBEX } = await two(t);
  const channel = rawChannel(
    t,
    GLOBEX.gateway.peerAddress,
    [(await authorityOf(GLOBEX.folder)).certificate],
    await pairIn(orgFolder(ACME.folder).gateway('gw1')),
  );
  const absent = [
    PUBLISH,
    MessagingServiceService.publishStream.path,
    MessagingServiceService.subscribe.path,
    '/fedgate.gateway.v1.GatewayService/GetStatus',
    '/grpc.health.v1.Health/Check',
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  ];
  for (const path of absent) t.is(((await ask(channel, path)) as FedgateError).status, 'UNIMPLEMENTED', path);
});

test('admission: the node port does not speak the link protocol', async t => {
  const { GLOBEX } = await two(t);
  const ca = await authorityOf(GLOBEX.folder);
  const node = await issueLeaf(ca, FEDERATION, { org: GLOBEX_NAME, role: 'node', name: 'n' });
  const channel = rawChannel(t, GLOBEX.gateway.nodeAddress, [ca.certificate], node);
  t.is(((await ask(channel, OPEN_LANE)) as FedgateError).status, 'UNIMPLEMENTED');
});

test("connect: a node of one's own organisation cannot pose as the gateway", async t => {
  const ca = await createAuthority(FEDERATION, 'ACME');
  const impostor = await issueLeaf(ca, FEDERATION, { org: ACME_NAME, role: 'node', name: 'impostor' });
  const listener = new Listener({
    name: 'impostor',
    listen: { host: '127.0.0.1', port: 0 },
    identity: impostor,
    authorities: [ca.certificate],
    windows: { stream: 65_536, connection: 65_536 },
    maxConcurrentStreams: 10,
  });
  const calls = new CallWrapper<undefined>({ authenticate: () => undefined, onFailure: () => undefined });
  listener.addService(HealthDefinition, new HealthService().implementation(calls));
  await listener.start();
  t.teardown(() => listener.stop(0));
  const error = await t.throwsAsync<FedgateError>(
    connect({
      address: listener.address,
      serverName: gatewayDnsName(FEDERATION, 'ACME', 'gw1'),
      identity: await issueLeaf(ca, FEDERATION, { org: ACME_NAME, role: 'node', name: 'n' }),
      authorities: [ca.certificate],
      connectTimeoutMs: 5_000,
    }),
  );
  t.is(error?.reason, 'CERTIFICATE_UNTRUSTED');
});
