import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerBundle } from './bundle.js';
import { registerCompare } from './compare.js';
import { registerList } from './list.js';
import { registerLog } from './log.js';
import { registerShow } from './show.js';
import { registerUnvote } from './unvote.js';
import { registerWatch } from './watch.js';
import { registerWithdraw } from './withdraw.js';

/** `fedgate proposals …`: what is to be approved, by whom, and how it stands. */
export function registerProposals(program: Command, env: CliEnv): void {
  const proposals = program.command('proposals').description('see proposals and their votes, follow and withdraw them');
  registerList(proposals, env);
  registerShow(proposals, env);
  registerWatch(proposals, env);
  registerWithdraw(proposals, env);
  registerUnvote(proposals, env);
  registerBundle(proposals, env);
  registerLog(proposals, env);
  registerCompare(proposals, env);
}
