import assert from 'node:assert/strict';
import { delimiter, join } from 'node:path';
import { codeBlock } from '../docs/code-blocks.js';
import { Shell } from '../support/shell.js';
import { type NodeVariables, startTwoOrgs, type TwoOrgs } from '../support/two-orgs.js';
import { checkPythonVerifier } from './approvals.js';
import { passed, say } from './tap.js';
import {
  isInstalled,
  type Programs,
  prepareGo,
  prepareGrpcurl,
  preparePython,
  preparePythonVerifier,
} from './toolchain.js';

/** Runs everything; the result is the exit code. What is not installed is a failure in CI and a stated reason elsewhere. */
export async function runClients(): Promise<number> {
  const missing = await missingTools();
  if (missing.length > 0) {
    say(`# test:clients: not run: ${missing.join(' and ')} not installed`);
    return process.env.CI ? 1 : 0;
  }
  say('# installing what the examples need (the first time takes minutes)');
  const [python, go, grpcurl] = [await preparePython(), await prepareGo(), await prepareGrpcurl()];
  const verifier = await preparePythonVerifier();
  const undo: (() => unknown)[] = [];
  try {
    await checkPythonVerifier(verifier);
    passed(
      'approvals: the Python program of docs/approvals.md accepts two of three, and refuses what was tampered with',
    );
    const orgs = await startTwoOrgs({ teardown: each => void undo.push(each) });
    for (const [publisher, subscriber] of [
      [python, go],
      [go, python],
    ] as const) {
      await checkPrograms(orgs, publisher, subscriber);
      passed(`${publisher.language} in ACME publishes, ${subscriber.language} in GLOBEX subscribes`);
    }
    await checkGrpcurl(orgs, grpcurl);
    passed('the grpcurl commands of docs/any-language.md');
    await checkGrpcurlFiles(orgs, grpcurl);
    passed('the grpcurl commands of docs/files.md');
    return 0;
  } finally {
    for (const each of undo.reverse()) await each();
  }
}

async function missingTools(): Promise<string[]> {
  const tools = [
    ['python3', '--version'],
    ['go', 'version'],
  ] as const;
  const found = await Promise.all(tools.map(([command, flag]) => isInstalled(command, flag)));
  return tools.filter((_, i) => !found[i]).map(([command]) => command);
}

const CHANNEL = 'orders/created';
/** Lines that would show a wrong encoding. */
const LINES = ['one', 'zwei – «drei»', '{"json": true}'];

async function checkPrograms({ acme, globex }: TwoOrgs, publisher: Programs, subscriber: Programs): Promise<void> {
  const receiving = subscriber.subscribe('orders/**', LINES.length, exampleVariables(globex));
  try {
    await receiving.printed(/^subscribed$/m);
    const sent = await publisher
      .publish(`pubsub://GLOBEX/${CHANNEL}`, exampleVariables(acme))
      .type(`${LINES.join('\n')}\n`)
      .finished();
    assert.equal(sent, 'ACK_LEVEL_RECEIVED\n'.repeat(LINES.length));
    const received = await receiving.finished();
    assert.equal(received, LINES.map(line => `ACME ${CHANNEL} ${line}\n`).join(''));
  } finally {
    receiving.kill();
  }
}

/** The variables that the examples read. */
const exampleVariables = ({ DIR, GATEWAY, SERVER_NAME }: NodeVariables): Record<string, string> => ({
  FEDGATE_ADDRESS: GATEWAY,
  FEDGATE_SERVER_NAME: SERVER_NAME,
  FEDGATE_CA: join(DIR, 'ca.crt'),
  FEDGATE_CERT: join(DIR, 'tls.crt'),
  FEDGATE_KEY: join(DIR, 'tls.key'),
});

async function checkGrpcurl({ acme, globex }: TwoOrgs, folder: string): Promise<void> {
  const PATH = [folder, process.env.PATH].join(delimiter);
  const paste = async (heading: string, variables: NodeVariables): Promise<Shell> =>
    Shell.paste(await codeBlock('any-language.md', heading), { ...variables, PATH });
  const described = await (await paste('grpcurl: list what there is', acme)).finished();
  assert.match(described, /rpc Publish \(/);
  const subscriber = await paste('grpcurl: subscribe', globex);
  try {
    await subscriber.printed(/"opened"/);
    const published = await (await paste('grpcurl: publish', acme)).finished();
    assert.match(published, /"level": "ACK_LEVEL_RECEIVED"/);
    await subscriber.printed(/"payload": "aGVsbG8="/);
  } finally {
    subscriber.kill();
  }
}

async function checkGrpcurlFiles({ acme, globex }: TwoOrgs, folder: string): Promise<void> {
  const PATH = [folder, process.env.PATH].join(delimiter);
  const run = async (heading: string, variables: Readonly<Record<string, string>>): Promise<string> =>
    Shell.paste(await codeBlock('files.md', heading), { ...variables, PATH }).finished();
  const { share } = JSON.parse(await run('grpcurl: share', acme)) as { share: { id: string; size: string } };
  assert.equal(share.size, '5');
  const fetched = await run('grpcurl: fetch', { ...globex, SHARE: share.id });
  assert.match(fetched, /"opened"/);
  assert.match(fetched, /"data": "aGVsbG8="/);
}
