import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { EXIT } from '../../src/cli/exit-codes.js';
import { fedgate, startFedgate } from '../support/cli.js';
import { startFederation } from '../support/federation.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';

const ALL = 'nodes: [{ node: "*", request: ["**", "pubsub://*/**"], respond: ["**"] }]';

async function twoOrgs(t: TestScope) {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: ALL },
    GLOBEX: { access: `${ALL}\npeers: [{ org: ACME, request: ["**"] }]` },
  });
  const asker = await ACME.context('asker');
  return {
    GLOBEX,
    ask: (args: readonly string[], stdin?: string) =>
      fedgate([...args, '--context', asker], stdin === undefined ? {} : { stdin }),
  };
}

test('request and respond: a command answers across organisations, its exit code is an error, and nobody is there', async t => {
  const { GLOBEX, ask } = await twoOrgs(t);
  t.is((await ask(['request', 'pubsub://GLOBEX/shout', 'hi'])).code, EXIT.nothingThere);
  const clerk = await GLOBEX.context('clerk');
  const script = `test "$FEDGATE_CHANNEL" = shout || { echo "not $FEDGATE_CHANNEL" >&2; exit 3; }; tr a-z A-Z`;
  const responder = startFedgate(t, ['respond', '*', '--exec', script, '--context', clerk]);
  await responder.printed('answering on *');

  t.like(await ask(['request', 'pubsub://GLOBEX/shout', 'hi']), { code: 0, stdout: 'HI\n' });
  t.like(await ask(['request', 'pubsub://GLOBEX/shout', '-', '--raw'], 'a\nb'), { code: 0, stdout: 'A\nB' });
  const json = await ask(['request', 'pubsub://GLOBEX/shout', 'x', '--json', '--header', 'a=b']);
  t.like(JSON.parse(json.stdout), { org: 'GLOBEX', node: 'clerk', attempts: 1, duplicate: false, payload: 'X' });
  const refused = await ask(['request', 'pubsub://GLOBEX/whisper', 'hi']);
  t.is(refused.code, EXIT.applicationError);
  t.regex(refused.stderr, /not whisper \[APPLICATION_ERROR\]/);
  t.is((await ask(['request', 'pubsub://GLOBEX/shout', 'hi', '--timeout', '1x'])).code, EXIT.usage);
});

test('respond: a command is killed, with what it started, when nobody waits any more', async t => {
  const { GLOBEX, ask } = await twoOrgs(t);
  const folder = await temporaryFolder(t);
  const pid = join(folder, 'pid');
  await writeFile(pid, '');
  const clerk = await GLOBEX.context('clerk');
  const responder = startFedgate(t, [
    'respond',
    'slow',
    '--exec',
    `sleep 60 & echo $! > ${pid}; wait`,
    '--context',
    clerk,
  ]);
  await responder.printed('answering on slow');
  const late = await ask(['request', 'pubsub://GLOBEX/slow', 'x', '--timeout', '1500ms']);
  t.is(late.code, EXIT.unreachable);
  t.regex(late.stderr, /DEADLINE_EXCEEDED/);
  const child = Number(await readFile(pid, 'utf8'));
  t.true(child > 0);
  for (let tries = 0; isAlive(child) && tries < 500; tries++) await new Promise(resolve => setTimeout(resolve, 20));
  t.false(isAlive(child));
});

test('survey: everybody is asked; --count ends it, and an empty channel has a code of its own', async t => {
  const { GLOBEX, ask } = await twoOrgs(t);
  for (const name of ['east', 'west']) {
    const responding = (await GLOBEX.node(name)).respond('stock', () => `${name} has 7`);
    await responding.opened;
  }
  const all = await ask(['survey', 'pubsub://GLOBEX/stock', 'how much?']);
  t.is(all.code, 0);
  t.deepEqual(all.stdout.trim().split('\n').sort(), ['GLOBEX/east: east has 7', 'GLOBEX/west: west has 7']);
  t.regex(all.stderr, /2 of 2 responders answered/);
  const one = await ask(['survey', 'pubsub://GLOBEX/stock', 'x', '--count', '1', '--json']);
  const lines = one.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { summary?: object });
  t.is(lines.length, 2);
  t.like(lines[1]?.summary, { asked: 2, answered: 1 });
  t.is((await ask(['survey', 'pubsub://GLOBEX/nobody', 'x'])).code, EXIT.nothingThere);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
