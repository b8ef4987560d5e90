import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { FedgateError } from '../errors.js';
import { readSecret } from '../identity/files.js';
import type { CliEnv } from './env.js';

/**
 * Asks for something that nobody may see, on the terminal and without showing it. Throws FIELD_INVALID where there is nobody to ask, with what to
 * give `instead`, and CANCELLED.
 */
export async function askSecret(env: CliEnv, question: string, instead: string): Promise<string> {
  const { isTTY } = env.stdin as { isTTY?: boolean };
  if (!env.terminal || isTTY !== true) {
    throw new FedgateError('FIELD_INVALID', `${instead}: needed where nobody can be asked: ${question}`);
  }
  env.stderr.write(`${question}: `);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  // `terminal`: it reads key by key, so that the terminal does not show them.
  const lines = createInterface({ input: env.stdin, output: nowhere, terminal: true });
  const stopped = new AbortController();
  // Ctrl-C, which is no signal while keys are read one by one, and the end of the input.
  lines.once('SIGINT', () => stopped.abort());
  lines.once('close', () => stopped.abort());
  try {
    return await lines.question('', { signal: AbortSignal.any([env.signal, stopped.signal]) });
  } catch (error) {
    throw new FedgateError('CANCELLED', 'nothing was done', { cause: error });
  } finally {
    lines.close();
    env.stderr.write('\n');
  }
}

/** Reads a passphrase or PIN from a file that only its owner can read: its first line. Throws FILE_UNUSABLE or KEY_EXPOSED. */
export async function readSecretLine(path: string, what: string): Promise<string> {
  const [line = ''] = (await readSecret(path, what)).split(/\r?\n/, 1);
  if (line === '') throw new FedgateError('FILE_UNUSABLE', `${path}: the ${what} is empty`);
  return line;
}
