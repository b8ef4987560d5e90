import type { Command } from 'commander';
import type { CliEnv } from '../../../env.js';
import { registerConsent, registerWithdraw } from './consent.js';
import { registerGroupList } from './list.js';
import { registerGroupRemove, registerGroupSet } from './set.js';

/** `fedgate org group …`: groups in the own signed record, and consent to those of others. */
export function registerGroup(org: Command, env: CliEnv): void {
  const group = org
    .command('group')
    .description('groups of organisations in signed records: name one, consent to one of another, see who counts');
  registerGroupSet(group, env);
  registerGroupRemove(group, env);
  registerConsent(group, env);
  registerWithdraw(group, env);
  registerGroupList(group, env);
}
