import type { DurableMessage } from '../client/index.js';
import { FedgateError } from '../errors.js';
import { type ApprovedPackage, codeIsApproved } from './approval-story.js';
import { bytesFlow, questionIsAnswered, topicIsShared } from './conversation.js';
import { fetchFile, makeFile, shareFile } from './files.js';
import { Ledger } from './ledger.js';
import { commitLines, type LinesReport, madeUpLines, sendLines } from './lines.js';
import { type DemoOrg, type DemoWorld, retry } from './world.js';

/** Tells the story of the demo and checks each chapter. */
export interface Storyteller {
  chapter(title: string): void;
  fact(line: string): void;
  /** A promise of the story: shown with its outcome, and counted. */
  check(promise: string, holds: boolean): void;
}

const ORDERS = 'pubsub://GLOBEX/orders/created';

export async function tellStory(world: DemoWorld, tell: Storyteller): Promise<ApprovedPackage> {
  await oneMessage(world, tell);
  await refusals(world, tell);
  await manyLines(world, tell);
  await gatewayKilled(world, tell);
  await nothingIsLost(world, tell);
  await registryStopped(world, tell);
  await memberSuspended(world, tell);
  await questionIsAnswered(world, tell);
  await bytesFlow(world, tell);
  await topicIsShared(world, tell);
  await fileCrosses(world, tell);
  return codeIsApproved(world, tell);
}

/** Subscriptions of the story have names of their own, so that none hears what another chapter did. */
let chapters = 0;

/**
 * The first message that a new subscription at an organisation gets while something is done. A durable one: whatever is killed
 * meanwhile, the message comes.
 */
async function heardWhile(org: DemoOrg, pattern: string, act: () => Promise<unknown>): Promise<DurableMessage> {
  const subscription = org.client.subscribe(pattern, { durable: `story-${++chapters}` });
  await subscription.opened;
  const first = async (): Promise<DurableMessage> => {
    for await (const message of subscription) {
      await message.ack().catch(() => undefined);
      return message;
    }
    throw new FedgateError('CANCELLED', 'the subscription ended');
  };
  const [message] = await Promise.all([first(), act()]);
  return message;
}

async function oneMessage({ acme, globex }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('A message crosses');
  const message = await heardWhile(globex, 'orders/*', async () => {
    const order = { payload: '{"order":1,"total":"9.90"}', contentType: 'application/json' };
    const report = await retry(() => acme.client.publish(ORDERS, order, { ack: 'received' }));
    tell.fact(`ACME/billing published to ${ORDERS}; ${report.org} has it on stable storage`);
  });
  tell.fact(
    `GLOBEX/erp received ${message.text} on ${message.channel} from ${message.senderOrg}/${message.senderNode}, as its gateway verified`,
  );
  tell.check(
    'the record arrived, with its sender as verified',
    message.senderOrg === 'ACME' && message.senderNode === 'billing',
  );
}

async function refusal(attempt: () => Promise<unknown>): Promise<FedgateError | undefined> {
  return attempt().then(
    () => undefined,
    (error: unknown) => (error instanceof FedgateError ? error : undefined),
  );
}

async function refusals({ initech, acme }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('What is not granted is refused');
  await retry(async () => {
    const error = await refusal(() => initech.client.publish(ORDERS, 'let me in', { ack: 'received' }));
    if (error?.reason === 'PEER_UNREACHABLE') throw error;
  });
  const stranger = await refusal(() => initech.client.publish(ORDERS, 'let me in', { ack: 'received' }));
  tell.fact(`INITECH/audit to ${ORDERS}: ${stranger?.message} [${stranger?.reason}]`);
  tell.check('an organisation without a grant is refused by the receiver', stranger?.reason === 'NOT_GRANTED');
  const unknown = await refusal(() => acme.client.publish('pubsub://NOBODY/x', 'hello'));
  tell.fact(`ACME/billing to pubsub://NOBODY/x: ${unknown?.message} [${unknown?.reason}]`);
  tell.check('an unknown organisation is named as such', unknown?.reason === 'ORG_UNKNOWN');
}

async function manyLines(world: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('A stream of lines: fedgate pub … --lines into fedgate sub … --raw');
  const describe = ({ lines, bytes, seconds }: LinesReport): string =>
    `${lines} lines, ${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s`;
  const commits = await commitLines();
  if (commits === undefined) tell.fact('this is not a git checkout, so the lines of its log are left out');
  else {
    const log = await sendLines(world, () => [commits]);
    tell.fact(`every commit of this repository: ${describe(log)}`);
    tell.check('the log came out byte for byte', log.same);
  }
  const large = await sendLines(world, () => madeUpLines(50_000_000));
  tell.fact(`a file made on the spot: ${describe(large)}`);
  tell.check('50 MB of lines came out byte for byte, in order', large.same);
}

async function gatewayKilled({ acme, globex }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter("GLOBEX's gateway is killed with -9 and started again");
  let killed = 0;
  let back = 0;
  globex.client.once('connected', () => {
    back = performance.now();
  });
  const message = await heardWhile(globex, 'orders/*', async () => {
    globex.gateway.kill();
    killed = performance.now();
    const away = await refusal(() => acme.client.publish(ORDERS, 'live: are you there?', { delivery: 'live' }));
    if (away) tell.fact(`while it is away a live publish says so: ${away.reason}`);
    await retry(() => acme.client.publish(ORDERS, 'durable: for when you are back'));
    tell.fact('a durable one is stored and waits');
  });
  const received = performance.now();
  const seconds = (received - back) / 1000;
  tell.fact(`GLOBEX/erp received it ${((received - killed) / 1000).toFixed(1)} s after the kill: ${message.text}`);
  tell.fact(`that is ${seconds.toFixed(1)} s after its gateway was back`);
  tell.check('what waited flows within 3 s of the return, without anybody doing anything', back > 0 && seconds < 3);
}

/** Orders in the chapter of kills. */
const ORDERS_SENT = 300;

async function nothingIsLost({ acme, globex }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('Both gateways are killed with -9, again and again, while orders are sent');
  const ledger = new Ledger(acme, globex);
  const start = performance.now();
  let kills = 0;
  for (let i = 1; i <= ORDERS_SENT; i++) {
    const sent = ledger.send();
    if (i % 50 === 25) {
      const victim = kills++ % 2 === 0 ? globex : acme;
      victim.gateway.kill();
    }
    await sent;
  }
  const { sent, booked, lost, repeated } = await ledger.balanced(30_000);
  ledger.close();
  const seconds = (performance.now() - start) / 1000;
  tell.fact(
    `${sent} orders in ${seconds.toFixed(1)} s with ${kills} kills: ${booked} booked, ${lost} lost, ${repeated} repeated`,
  );
  tell.check('no order was lost', lost === 0 && sent === ORDERS_SENT);
  tell.check('no order was repeated', repeated === 0);
}

async function registryStopped({ acme, globex, registry }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('The registry stops');
  await registry.stop();
  const message = await heardWhile(globex, 'orders/*', () => acme.client.publish(ORDERS, 'who needs a registry'));
  tell.check('organisations that know each other go on', message.text === 'who needs a registry');
  registry.start();
}

async function memberSuspended({ acme, globex, admin }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('ACME is suspended, and resumed');
  await retry(() => admin.setState('ACME', 'suspended'));
  const start = performance.now();
  const cut = await retry(async () => {
    const error = await refusal(() => acme.client.publish(ORDERS, 'am I still in?', { delivery: 'live' }));
    if (!error) throw new FedgateError('PEER_UNREACHABLE', 'not cut yet');
    return error;
  });
  const seconds = (performance.now() - start) / 1000;
  tell.fact(`its link was cut ${seconds.toFixed(1)} s after the operator's word: ${cut.message} [${cut.reason}]`);
  tell.check('a suspended organisation is cut within 5 s', seconds < 5);
  await admin.setState('ACME', 'active');
  const message = await heardWhile(globex, 'orders/*', () => retry(() => acme.client.publish(ORDERS, 'back again')));
  tell.check('resumed, it is back', message.text === 'back again');
}

const FILE_BYTES = 24_000_000;
const FILES = 'pubsub://GLOBEX/orders/catalogue';

async function fileCrosses(world: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('A file crosses');
  const { acme, globex, initech } = world;
  const file = await makeFile(world, 'catalogue.bin', FILE_BYTES);
  const shared = await shareFile(world, file);
  tell.fact(`ACME/billing shared a file of ${file.bytes / 1e6} MB with GLOBEX: ${shared.id}`);
  const message = await heardWhile(globex, 'orders/*', () =>
    retry(() => acme.client.publish(FILES, shared.id, { ack: 'received' })),
  );
  tell.fact('GLOBEX/erp was told the id in a message, as any other text');
  const start = performance.now();
  const fetched = await retry(() => fetchFile(world, message.text, 'catalogue-at-globex.bin'));
  const seconds = (performance.now() - start) / 1000;
  tell.fact(`it fetched the file in ${seconds.toFixed(1)} s, each piece verified: SHA-256 ${fetched.sha256}`);
  tell.check('the file came out byte for byte', fetched.sha256 === file.sha256 && fetched.bytes === file.bytes);
  await retry(async () => {
    const error = await refusal(() => initech.client.getShare(shared.id));
    if (error?.reason === 'PEER_UNREACHABLE') throw error;
  });
  const stranger = await refusal(() => initech.client.fetchStream(shared.id));
  tell.fact(`INITECH/audit, which knows the id too: ${stranger?.message} [${stranger?.reason}]`);
  tell.check('for all others it is as if there were no such file', stranger?.reason === 'SHARE_UNKNOWN');
}
