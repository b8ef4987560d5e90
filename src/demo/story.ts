import type { Message, Subscription } from '../client/index.js';
import { FedgateError } from '../errors.js';
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

export async function tellStory(world: DemoWorld, tell: Storyteller): Promise<void> {
  await oneMessage(world, tell);
  await refusals(world, tell);
  await manyLines(world, tell);
  await gatewayKilled(world, tell);
  await registryStopped(world, tell);
  await memberSuspended(world, tell);
}

/** The first message that a new subscription at an organisation gets while something is done. */
async function heardWhile(org: DemoOrg, pattern: string, act: () => Promise<unknown>): Promise<Message> {
  const subscription = org.client.subscribe(pattern);
  await subscription.opened;
  const [message] = await Promise.all([firstOf(subscription), act()]);
  return message;
}

async function firstOf(subscription: Subscription): Promise<Message> {
  for await (const message of subscription) return message;
  throw new FedgateError('CANCELLED', 'the subscription ended');
}

async function oneMessage({ acme, globex }: DemoWorld, tell: Storyteller): Promise<void> {
  tell.chapter('A message crosses');
  const message = await heardWhile(globex, 'orders/*', async () => {
    const report = await retry(() =>
      acme.client.publish(ORDERS, { payload: '{"order":1,"total":"9.90"}', contentType: 'application/json' }),
    );
    tell.fact(`ACME/billing published to ${ORDERS}; GLOBEX answered: ${report.subscribers} subscriber`);
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
    const error = await refusal(() => initech.client.publish(ORDERS, 'let me in'));
    if (error?.reason === 'PEER_UNREACHABLE') throw error;
  });
  const stranger = await refusal(() => initech.client.publish(ORDERS, 'let me in'));
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
  let start = 0;
  await heardWhile(globex, 'orders/*', async () => {
    globex.gateway.kill();
    start = performance.now();
    const away = await refusal(() => acme.client.publish(ORDERS, 'are you there?'));
    if (away) tell.fact(`while it is away the answer says so: ${away.reason}`);
    await retry(async () => {
      const { subscribers } = await acme.client.publish(ORDERS, 'welcome back');
      if (subscribers === 0) throw new FedgateError('PEER_UNREACHABLE', 'the subscriber is not back yet');
    });
  });
  const seconds = (performance.now() - start) / 1000;
  tell.fact(
    `publisher and subscriber carried on by themselves, ${seconds.toFixed(1)} s after the kill, start of the process included`,
  );
  tell.check('traffic flows again within 3 s of the kill, without anybody doing anything', seconds < 3);
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
    const error = await refusal(() => acme.client.publish(ORDERS, 'am I still in?'));
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
