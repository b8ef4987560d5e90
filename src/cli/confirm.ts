import { createInterface } from 'node:readline/promises';
import { FedgateError } from '../errors.js';
import type { CliEnv } from './env.js';

/** The option of every command that asks before it destroys something. */
export const YES_OPTION = ['--yes', 'do not ask'] as const;

/**
 * Asks whether to go on; returns when the answer is yes, or `yes` was given. Throws FIELD_INVALID where there is nobody to ask, and CANCELLED
 * for any other answer.
 */
export async function confirm(env: CliEnv, yes: boolean, question: string): Promise<void> {
  if (yes) return;
  const { isTTY } = env.stdin as { isTTY?: boolean };
  if (!env.terminal || isTTY !== true)
    throw new FedgateError('FIELD_INVALID', `--yes: needed where nobody can be asked: ${question}`);
  const lines = createInterface({ input: env.stdin, output: env.stderr, terminal: false });
  try {
    const answer = await lines.question(`${question} [y/N] `, { signal: env.signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new FedgateError('CANCELLED', 'nothing was done');
  } catch (error) {
    if (error instanceof FedgateError) throw error;
    throw new FedgateError('CANCELLED', 'nothing was done', { cause: error });
  } finally {
    lines.close();
  }
}
