import { X509Certificate } from 'node:crypto';
import anyTest, { type TestFn } from 'ava';
import { LaneFrame } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { FedgateClient } from '../../src/client/index.js';
import { issueLeaf } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { signDetached } from '../../src/identity/signing.js';
import { LANE, TOPICS } from '../../src/link/hello.js';
import { sha256 } from '../../src/sha256.js';
import { sealPost } from '../../src/topics/post.js';
import type { Post } from '../../src/topics/types.js';
import { fromRpcStatus } from '../../src/transport/status.js';
import { openLaneFrame } from '../../src/wire/lane-frames.js';
import { encodeTopicPost } from '../../src/wire/topic-frames.js';
import {
  authorityOf,
  frameBytes,
  HostileGateway,
  type HostileLink,
  hello,
  pairIn,
  type RawStream,
} from '../support/attack.js';
import { allMet, startTestOrg, type TestOrg, take } from '../support/federation.js';
import { FEDERATION, joinOrg, startTestRegistry, type TestScope } from '../support/registry.js';
import { block } from '../support/topic-world.js';

/** ACME's gateway does not run: this file holds its key, and CA, and says what it likes to GLOBEX. INITECH is an honest third. */
interface World {
  readonly acme: HostileGateway;
  readonly globex: TestOrg;
  readonly erp: FedgateClient;
  readonly honest: FedgateClient;
  readonly folder: string;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;
const SHARED =
  'topics: [{ topic: "prices/**", publish: ["*"], subscribe: ["*"], authors: ["*"], peers: ["*"], relay: true }]';
const ACCESS = `${SHARED}\npeers: [{ org: GLOBEX, publish: ["x"] }]`;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const registry = await startTestRegistry(scope);
  const folder = await joinOrg(scope, registry, 'ACME', { addresses: ['127.0.0.1:1'] });
  const globex = await startTestOrg(scope, registry, 'GLOBEX', { access: SHARED });
  const initech = await startTestOrg(scope, registry, 'INITECH', { access: ACCESS });
  await allMet(registry, globex, initech);
  const authorities = [(await authorityOf(globex.folder)).certificate];
  const identity = await pairIn(orgFolder(folder).gateway('gw1'));
  const acme = new HostileGateway(scope, 'ACME', identity, globex.gateway.peerAddress, authorities);
  Object.assign(t.context, { acme, globex, folder, undo });
  Object.assign(t.context, { erp: await globex.node('erp'), honest: await initech.node('n') });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

interface Lane {
  readonly link: HostileLink;
  readonly lane: RawStream;
}

async function open(acme: HostileGateway): Promise<Lane> {
  const link = await acme.link(77n, { capabilities: [TOPICS] });
  const lane = acme.lane().write(acme.hello(LANE.topics, link.linkId));
  await hello(lane);
  lane.write(frameBytes({ $case: 'topicsHave', value: { streams: [], complete: true, takes: ['**'] } }));
  return { link, lane };
}

/** A post of ACME, or of whom it claims to be. */
function post(
  acme: HostileGateway,
  text: string,
  { topic = 'prices/steel', epoch = 1n, org = 'ACME', certificate = acme.identity.certificate } = {},
): Post {
  const der = new X509Certificate(certificate).raw;
  const timeMs = Date.now();
  return sealPost(
    {
      federation: FEDERATION,
      stream: { topic, org: org as OrgName, gateway: 'gw1', epoch },
      node: 'x',
      first: 1,
      timeMs,
      expireMs: timeMs + 60_000,
      previousSha256: Buffer.alloc(0),
      certificate: der,
      certificateSha256: sha256(der),
    },
    block([text]),
    header => signDetached('topic', acme.key, header),
  );
}

/** Why it is told that it is not heard. */
const paused = (lane: RawStream): Promise<string> =>
  lane.until(bytes => {
    const opened = openLaneFrame(bytes);
    const { frame } = 'other' in opened ? LaneFrame.decode(opened.other) : {};
    return frame?.$case === 'topicsPaused' && frame.value.error ? fromRpcStatus(frame.value.error).reason : undefined;
  });

test.serial(
  'hostile topics lane: a post is believed for its signature only; a forger is not heard, its link stays, and others go on',
  async t => {
    t.timeout(60_000);
    const { acme, globex, erp, honest, folder } = t.context;
    const topic = erp.topic('prices/steel');
    const got = topic.subscribe();
    await got.opened;
    const { lane, link } = await open(acme);
    lane.write(encodeTopicPost(post(acme, 'mine')));
    const [first] = await take(got, 1);
    t.like(first, { senderOrg: 'ACME', senderNode: 'x', text: 'mine' });
    const rest = topic.subscribe({ after: got.places });
    await rest.opened;
    // As INITECH, with its own key: a certificate that ACME's CA signed for somebody else counts for nobody.
    const foreign = await issueLeaf(await authorityOf(folder), FEDERATION, {
      org: 'INITECH' as OrgName,
      role: 'gateway',
      name: 'gw1',
    });
    const altered = post(acme, 'altered', { epoch: 2n });
    lane.write(encodeTopicPost(post(acme, 'as another', { org: 'INITECH' })));
    lane.write(encodeTopicPost(post(acme, 'as another', { org: 'INITECH', certificate: foreign.certificate })));
    lane.write(encodeTopicPost({ ...altered, records: block(['something else']) }));
    t.regex(await paused(lane), /^(SIGNATURE_INVALID|IDENTITY_MISMATCH|CERTIFICATE_UNTRUSTED)$/);
    t.truthy(await globex.logged(({ security, err }) => security === true && err?.reason === 'IDENTITY_MISMATCH'));
    lane.write(encodeTopicPost(post(acme, 'not heard', { epoch: 3n })));
    await honest.topic('prices/steel').publish('of a third');
    t.like((await take(rest, 1))[0], { senderOrg: 'INITECH', text: 'of a third' });
    const { paused: cut } = await erp.topics();
    t.deepEqual(
      cut.map(({ org }) => org),
      ['ACME'],
    );
    t.is(link.control.call.destroyed, false);
    link.control.call.cancel();
  },
);
