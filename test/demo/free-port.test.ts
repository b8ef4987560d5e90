import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { claimPort, freePort } from '../../src/demo/free-port.js';

test('free port: one can be listened on, and is given once', async t => {
  const ports = await Promise.all(Array.from({ length: 50 }, freePort));
  t.is(new Set(ports).size, ports.length);
  const server = createServer().listen(ports[0], '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
});

if (process.platform === 'linux') {
  test('free port: what was given to a process is given to no other as long as that one runs', async t => {
    const module = new URL('../../src/demo/free-port.js', import.meta.url).href;
    const program = `console.log(await (await import('${module}')).freePort()); process.stdin.resume()`;
    const other = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.teardown(() => other.kill());
    const [line] = (await once(other.stdout, 'data')) as [Buffer];
    const port = Number(line.toString());
    t.true(port > 0);
    t.false(await claimPort(port));
    other.stdin.end();
    await once(other, 'exit');
    t.true(await claimPort(port));
    t.false(await claimPort(port));
  });
}
