import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerGroup } from './group/index.js';
import { registerJoin } from './join.js';
import { registerRecord } from './record.js';
import { registerOrgRevoke } from './revoke.js';

/** `fedgate org …`: for whoever runs an organisation in a federation. */
export function registerOrg(program: Command, env: CliEnv): void {
  const org = program.command('org').description("an organisation's membership: join, and what others know of it");
  registerJoin(org, env);
  registerRecord(org, env);
  registerGroup(org, env);
  registerOrgRevoke(org, env);
}
