import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { packageRoot } from '../../src/package-root.js';
import { startFedgate } from '../support/cli.js';

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

test('demo: its story holds, every command it prints works as printed, and Ctrl-C removes everything', async t => {
  t.timeout(150_000);
  const demo = startFedgate(t, ['demo']);
  await demo.printed('Ctrl-C ends it');
  t.regex(demo.stdout, /9 of 9 promises held/);
  const folder = /lives in (\S+)/.exec(demo.stdout)?.[1] ?? '';
  const commands = [...demo.stdout.matchAll(/^ {2}# (.*)\n {2}(.*)$/gm)].map(([, what = '', command = '']) => ({
    what,
    command,
  }));
  t.true(commands.length >= 9);
  const find = (part: string): string =>
    commands.find(({ command }) => command.includes(part))?.command ?? `false # no command with ${part}`;

  const heard = await shell(find('fedgate sub'), 4);
  t.regex(heard.output, /ACME\/billing +orders\/created +\{"order":\d+\}/);
  t.deepEqual(
    await shell(find(`pub pubsub://GLOBEX/orders/created hello --context ${folder}/acme`), 20).then(
      ({ code }) => code === 0 || code === 5,
    ),
    true,
  );
  const refused = await shell(find(`--context ${folder}/initech`), 20);
  t.is(refused.code, 4);
  t.regex((await shell(find('fedgate status'), 20)).output, /^ACME +up/m);
  t.regex((await shell(find('fedgate doctor'), 20)).output, /the way to GLOBEX is open/);
  t.regex((await shell(find('registry list'), 20)).output, /INITECH/);
  const curl = await shell(find('buf curl'), 20);
  t.is(curl.code, 0, curl.output);
  t.regex(curl.output, /"org": *"GLOBEX"/);
  t.regex((await shell(find('tail -f'), 1)).output, /"msg":"registry snapshot taken"/);
  // grpcurl is not part of what this test may count on; npm run test:clients runs it.
  t.true(commands.some(({ command }) => command.startsWith('grpcurl ')));
  t.is((await shell(find('kill -9'), 5)).code, 0);
  await demo.printed('GLOBEX gateway died and was started again');

  demo.child.kill('SIGINT');
  t.is(await demo.exited, 0);
  t.false(existsSync(folder));
});
