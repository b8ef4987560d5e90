import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { packageRoot } from '../../src/package-root.js';
import type { TestScope } from '../support/registry.js';
import { Shell } from '../support/shell.js';
import { type NodeVariables, startTwoOrgs, type TwoOrgs } from '../support/two-orgs.js';
import { codeBlock } from './code-blocks.js';

const test = anyTest as TestFn<{ orgs: TwoOrgs; undo: (() => unknown)[] }>;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  t.context.undo = undo;
  const scope: TestScope = { teardown: each => void undo.push(each) };
  t.context.orgs = await startTwoOrgs(scope);
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

const binaries = fileURLToPath(new URL('node_modules/.bin', packageRoot));

/** Runs a block of the page in the place of a node. */
async function paste(t: ExecutionContext, heading: string, variables: NodeVariables): Promise<Shell> {
  const PATH = [binaries, process.env.PATH].join(delimiter);
  const shell = Shell.paste(await codeBlock('any-language.md', heading), { ...variables, PATH });
  t.teardown(() => shell.kill());
  return shell;
}

test('any language: buf curl finds the methods by reflection', async t => {
  const shell = await paste(t, 'buf curl: list what there is', t.context.orgs.acme);
  t.regex(await shell.finished(), /^fedgate\.messaging\.v1\.MessagingService\/Publish$/m);
});

test.serial('any language: buf curl publishes live in one organisation and subscribes in another', async t => {
  const { acme, globex } = t.context.orgs;
  const subscriber = await paste(t, 'buf curl: subscribe', globex);
  await subscriber.printed(/"opened"/);
  const publisher = await paste(t, 'buf curl: publish live', acme);
  const { result } = JSON.parse(await publisher.finished());
  t.like(result, { side: 'SIDE_REMOTE', subscribers: 1, org: 'GLOBEX' });
  t.false('level' in result);
  await subscriber.printed(/"payload": "aGVsbG8="/);
  t.regex(subscriber.output, /"senderOrg": "ACME"/);
});

test.serial('any language: buf curl writes to one node, which is not shown', async t => {
  const publisher = await paste(t, 'buf curl: write to one node', t.context.orgs.acme);
  const { result } = JSON.parse(await publisher.finished());
  t.like(result, { side: 'SIDE_REMOTE', org: 'GLOBEX', inbox: 'INBOX_STATE_UNTOLD' });
});

test.serial('any language: buf curl publishes to every organisation, and each answers', async t => {
  const publisher = await paste(t, 'buf curl: publish to every organisation', t.context.orgs.acme);
  const { result } = JSON.parse(await publisher.finished());
  t.like(result.orgs[0], { org: 'GLOBEX', result: { org: 'GLOBEX', level: 'ACK_LEVEL_RECEIVED' } });
});

test.serial('any language: buf curl watches nodes', async t => {
  const watcher = await paste(t, 'buf curl: watch nodes', t.context.orgs.acme);
  await watcher.printed(/"node": "any-language",\s+"state": "STATE_CONNECTED"[\s\S]*"complete": true/);
  t.pass();
});

test.serial('any language: buf curl publishes a stream; a frame that fails does not end it', async t => {
  const { acme, globex } = t.context.orgs;
  const subscriber = await paste(t, 'buf curl: subscribe', globex);
  await subscriber.printed(/"opened"/);
  const publisher = await paste(t, 'buf curl: publish a stream', acme);
  const answers = await publisher.finished();
  t.regex(answers, /"level": "ACK_LEVEL_STORED"/);
  t.regex(answers, /"reason": "ORG_UNKNOWN"/);
  await subscriber.printed(/"payload": "b25l"[\s\S]*"payload": "dHdv"/);
});

test.serial('any language: buf curl publishes until it is received, pulls it, and acknowledges it once', async t => {
  const { acme, globex } = t.context.orgs;
  const publisher = await paste(t, 'buf curl: publish', acme);
  const { result } = JSON.parse(await publisher.finished());
  t.like(result, { side: 'SIDE_REMOTE', org: 'GLOBEX', level: 'ACK_LEVEL_RECEIVED' });
  const pulled = await (await paste(t, 'buf curl: pull', globex)).finished();
  t.regex(pulled, /"senderOrg": "ACME"[\s\S]*"payload": "aGVsbG8="/);
  const OFFSET = [...pulled.matchAll(/"offset": "(\d+)",\s+"deliveryCount"/g)].at(-1)?.[1] ?? 'none';
  for (const records of ['1', undefined]) {
    const acknowledged = await paste(t, 'buf curl: acknowledge', { ...globex, OFFSET });
    t.is(JSON.parse(await acknowledged.finished()).records, records);
  }
});

test.serial('any language: buf curl consumes, and is told that its acknowledgement is settled', async t => {
  const { acme, globex } = t.context.orgs;
  await (await paste(t, 'buf curl: publish', acme)).finished();
  const consumer = await paste(t, 'buf curl: consume', globex);
  await consumer.printed(/"payload": "aGVsbG8="/);
  consumer.type('{"ack": {"ranges": [{"first": 1, "last": 1}], "ackId": 1}}\n');
  t.regex(await consumer.finished(), /"settled": \{\s+"ackId": "1"/);
});
