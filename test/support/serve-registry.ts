import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestScope } from './registry.js';

/** The compiled program, started without the check that the checkout's launcher makes: others may be editing meanwhile. */
const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export interface ServedRegistry {
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
}

/** Runs `fedgate registry serve` as a process of its own; resolves when it is ready. */
export async function serveRegistry(t: TestScope, folder: string): Promise<ServedRegistry> {
  const child = spawn(process.execPath, [MAIN, 'registry', 'serve', '--dir', folder, '--log-format', 'json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await ready(child);
  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> => {
    const exited = once(child, 'exit');
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  };
  return { kill: async () => void (await end('SIGKILL')), terminate: () => end('SIGTERM') };
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('exit', code => reject(new Error(`registry serve ended with ${code} before it was ready`)));
    if (!child.stdout) return reject(new Error('no standard output'));
    // Keeps reading to the end, so that the child never waits for us.
    createInterface({ input: child.stdout }).on('line', line => {
      if (line.includes('"registry ready"')) resolve();
    });
  });
}
