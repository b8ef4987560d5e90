import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerExport } from './export.js';
import { registerVerify } from './verify.js';

/** `fedgate evidence …`: proof of what was sent and received, for third parties. */
export function registerEvidence(program: Command, env: CliEnv): void {
  const evidence = program
    .command('evidence')
    .description('prove what was sent and received: signed batches, receipts and certificates in a file');
  registerExport(evidence, env);
  registerVerify(evidence, env);
}
