import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import { FederationServiceService, type LaneFrame } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { PEER_WINDOWS } from '../../src/gateway/listeners.js';
import { ANSWERS_WINDOW_BYTES } from '../../src/link/dial.js';
import { LANE, SPLIT } from '../../src/link/hello.js';
import { frameBytes, HostileGateway, HostileLink, hello, type RawStream } from '../support/attack.js';
import { ACME, GLOBEX } from '../support/durable-side.js';
import { Members, PeerGateway } from '../support/peer-gateway.js';

const PATH = FederationServiceService.openLane.path;

/** ACME, by hand, to GLOBEX: a link with a mail lane for each direction. */
async function scene(t: ExecutionContext) {
  const members = new Members();
  const [acme, globex] = [await members.add(ACME), await members.add(GLOBEX)];
  const gateway = await PeerGateway.open(t, members, GLOBEX, globex, undefined);
  const hostile = new HostileGateway(t, ACME, acme.identity, gateway.address, [globex.authority.certificate]);
  return { hostile, gateway };
}

async function open(hostile: HostileGateway) {
  const linkId = randomBytes(16);
  const lane = async (kind: 'control' | 'mail' | 'mailBack'): Promise<RawStream> => {
    const lane = hostile.lane().write(hostile.hello(LANE[kind], linkId, { capabilities: [SPLIT] }));
    await hello(lane);
    return lane;
  };
  const control = await lane('control');
  // In either order.
  const mailBack = await lane('mailBack');
  const mail = await lane('mail');
  return { link: new HostileLink(hostile, control, mail, 77n, linkId), mailBack, linkId };
}

const outcome: NonNullable<LaneFrame['frame']> = {
  $case: 'batchOutcome',
  value: { sequence: 1n, subscribers: 1, dropped: 0, error: undefined, inbox: 0 },
};

test('hostile split: batches of the dialler go on its mail lane, those of the acceptor on the other', async t => {
  const { hostile, gateway } = await scene(t);
  const { link, mailBack } = await open(hostile);
  link.mail.write(link.batch());
  t.is((await link.outcome(1)).subscribers, 1);
  const sent = gateway.peers.send(ACME, { channel: 'c', senderNode: 'x', records: link.seal().records, patienceMs: 0 });
  while (mailBack.received.length < 2) await new Promise(resolve => setTimeout(resolve, 5));
  mailBack.write(frameBytes(outcome));
  t.is((await sent).subscribers, 1);
});

const WRONG: readonly { readonly title: string; readonly lie: (link: HostileLink, mailBack: RawStream) => unknown }[] =
  [
    { title: 'a batch on the lane of the other direction', lie: (link, back) => back.write(link.batch()) },
    { title: 'an outcome on the lane of its own batches', lie: ({ mail }) => mail.write(frameBytes(outcome)) },
  ];

for (const { title, lie } of WRONG) {
  test(`hostile split: ${title} ends the link`, async t => {
    const { hostile } = await scene(t);
    const { link, mailBack } = await open(hostile);
    lie(link, mailBack);
    for (const lane of [link.control, link.mail, mailBack]) t.is((await lane.ended)?.reason, 'FRAME_UNEXPECTED');
  });
}

test('hostile split: a lane that comes twice, or that was not announced, is refused', async t => {
  const { hostile } = await scene(t);
  const { linkId } = await open(hostile);
  const again = hostile.lane().write(hostile.hello(LANE.mailBack, linkId));
  t.is((await again.ended)?.reason, 'FRAME_UNEXPECTED');
  const other = randomBytes(16);
  await hello(hostile.lane().write(hostile.hello(LANE.control, other)));
  const unannounced = hostile.lane().write(hostile.hello(LANE.mailBack, other));
  t.is((await unannounced.ended)?.reason, 'FRAME_UNEXPECTED');
});

test('hostile split: without the second mail lane there is no link, and the first ends too', async t => {
  const { hostile, gateway } = await scene(t);
  const linkId = randomBytes(16);
  const control = hostile.lane().write(hostile.hello(LANE.control, linkId, { capabilities: [SPLIT] }));
  await hello(control);
  const mail = hostile.lane().write(hostile.hello(LANE.mail, linkId));
  await hello(mail);
  for (const lane of [control, mail]) t.is((await lane.ended)?.reason, 'FRAME_UNEXPECTED');
  t.is(gateway.peers.get(ACME)?.link, undefined);
});

test('hostile split: a lane on which only answers come has a small window, on either side', async t => {
  const { hostile, gateway } = await scene(t);
  const { key, certificate: cert } = hostile.identity;
  const windowOf = async (kind: 'control' | 'mail' | 'mailBack' | 'durableBack' | 'files'): Promise<number> => {
    const tls = { key, cert, rejectUnauthorized: false };
    const session = connect(`https://${gateway.address}`, tls).on('error', () => undefined);
    t.teardown(() => session.destroy());
    const call = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    call.on('error', () => undefined).resume();
    const bytes = hostile.hello(LANE[kind], randomBytes(16));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(bytes.length, 1);
    call.write(Buffer.concat([prefix, bytes]));
    // Refused or answered: what is to be said of the window was said before.
    await once(call, 'response');
    return session.remoteSettings.initialWindowSize ?? 0;
  };
  t.is(await windowOf('control'), PEER_WINDOWS.stream);
  t.is(await windowOf('mail'), PEER_WINDOWS.stream);
  for (const kind of ['mailBack', 'durableBack', 'files'] as const) t.is(await windowOf(kind), ANSWERS_WINDOW_BYTES);
});
