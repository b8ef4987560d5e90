import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { packageRoot } from '../../src/package-root.js';
import { type RunningCommand, startFedgate } from '../support/cli.js';

const ROOT = fileURLToPath(packageRoot);

/** Runs a printed command as a person would: in a shell, in the folder of the checkout, ended after some seconds when it does not end. */
function shell(command: string, seconds: number): Promise<{ code: number | string; output: string }> {
  return new Promise(resolve => {
    execFile(
      'timeout',
      ['-s', 'INT', String(seconds), 'bash', '-c', `exec ${command}`],
      { cwd: ROOT, maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        resolve({ code: error?.code ?? 0, output: stdout + stderr });
      },
    );
  });
}

/** Runs one that ends only when somebody ends it, until it has printed this. Returns what it printed in any case. */
async function shellUntil(command: string, pattern: RegExp): Promise<string> {
  // In a group of its own: npx starts what it runs as a process beside itself, and a terminal tells both.
  const child = spawn('bash', ['-c', `exec ${command}`], {
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close');
  let ended = false;
  const end = (): void => {
    if (ended || child.pid === undefined) return;
    ended = true;
    try {
      process.kill(-child.pid, 'SIGINT');
    } catch {
      // It has ended meanwhile.
    }
  };
  const giveUp = setTimeout(end, 90_000);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', chunk => {
      output += chunk;
      if (pattern.test(output)) end();
    });
  await closed;
  clearTimeout(giveUp);
  return output;
}

/** Processes of the demo's gateways that carry the orders. */
function carriers(folder: string): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter(
      line =>
        /gateway run --config/.test(line) && [`${folder}/acme/`, `${folder}/globex/`].some(at => line.includes(at)),
    )
    .map(line => Number.parseInt(line, 10));
}

const KILLS = 6;

/** Kills one or the other gateway at instants that nobody chose, and waits each time until it was started again. */
async function killAgainAndAgain(demo: RunningCommand, folder: string): Promise<void> {
  const restarts = (): number => demo.stdout.split('died and was started again').length - 1;
  for (let kills = 0; kills < KILLS; kills++) {
    const before = restarts();
    await sleep(Math.random() * 1_500);
    const pids = carriers(folder);
    const pid = pids[kills % pids.length];
    if (pid === undefined) throw new Error('no gateway runs');
    process.kill(pid, 'SIGKILL');
    for (const giveUp = Date.now() + 60_000; restarts() === before && Date.now() < giveUp; ) await sleep(20);
  }
}

test('demo: its story holds, every command it prints works as printed, and Ctrl-C removes everything', async t => {
  t.timeout(600_000);
  const demo = startFedgate(t, ['demo']);
  await demo.printed('Ctrl-C ends it');
  t.regex(demo.stdout, /21 of 21 promises held/);
  const folder = /lives in (\S+)/.exec(demo.stdout)?.[1] ?? '';
  const commands = [...demo.stdout.matchAll(/^ {2}# (.*)\n {2}(.*)$/gm)].map(([, what = '', command = '']) => ({
    what,
    command,
  }));
  t.true(commands.length >= 9);
  const find = (part: string): string =>
    commands.find(({ command }) => command.includes(part))?.command ?? `false # no command with ${part}`;

  const [order, position, taken] = [
    /ACME\/billing +ledger\/orders +\d+-\d+/,
    /ACME\/billing +ledger\/orders +1-1\n/,
    /"msg":"registry snapshot taken"/,
  ];
  const [heard, durable, log] = await Promise.all([
    shellUntil(find('fedgate sub'), order),
    shellUntil(find('--durable mine'), position),
    shellUntil(find('tail -f'), taken),
  ]);
  t.regex(heard, order);
  t.regex(durable, position);
  t.regex(log, taken);
  t.regex((await shell(find('outbox list'), 60)).output, /GLOBEX/);
  t.deepEqual(
    await shell(find(`pub pubsub://GLOBEX/orders/created hello --context ${folder}/acme`), 60).then(
      ({ code }) => code === 0 || code === 5,
    ),
    true,
  );
  const refused = await shell(find(`--context ${folder}/initech`), 60);
  t.is(refused.code, 4);
  const answered = await shell(find('fedgate respond'), 60);
  t.is(answered.code, 0, answered.output);
  t.regex(answered.output, /TWO TONS/);
  const topic = await shell(find('topic://'), 60);
  t.regex(topic.output, /12\.50/);
  const file = await shell(find('fedgate share'), 60);
  t.is(file.code, 0, file.output);
  t.true(file.output.includes(await readFile(`${ROOT}/README.md`, 'utf8')));
  t.regex((await shell(find('proposals show'), 60)).output, /widget 1\.0\.0, number 1 of ACME/);
  const code = await shell(find('--require-approved'), 60);
  t.is(code.code, 0, code.output);
  t.regex(code.output, /lib\/total\.js/);
  for (const each of ['fedgate propose ', 'fedgate review', 'fedgate approve'])
    t.is((await shell(find(each), 60)).code, 0, each);
  t.regex((await shell(find('fedgate status'), 60)).output, /^ACME +up/m);
  t.regex((await shell(find('fedgate doctor'), 60)).output, /the way to GLOBEX is open/);
  t.regex((await shell(find('registry list'), 60)).output, /INITECH/);
  const curl = await shell(find('buf curl'), 60);
  t.is(curl.code, 0, curl.output);
  t.regex(curl.output, /"org": *"GLOBEX"/);
  // grpcurl is not part of what this test may count on; npm run test:clients runs it.
  t.true(commands.some(({ command }) => command.startsWith('grpcurl ')));
  t.is((await shell(find('kill -9'), 30)).code, 0);
  await demo.printed('GLOBEX gateway died and was started again');
  await killAgainAndAgain(demo, folder);

  demo.child.kill('SIGINT');
  t.is(await demo.exited, 0);
  const [, sent = '', lost, repeated] =
    /(\d+) orders sent, \d+ booked, (\d+) lost, (\d+) repeated/.exec(demo.stdout) ?? [];
  t.deepEqual([lost, repeated], ['0', '0'], `of ${sent} orders`);
  t.true(Number(sent) > 0);
  t.false(existsSync(folder));
});
