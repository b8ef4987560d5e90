import type { Command } from 'commander';
import type { MemberState } from '../../../registry/snapshot.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { DIR_OPTION, withAdmin } from './options.js';

interface StateCommand {
  readonly name: string;
  readonly state: MemberState;
  readonly description: string;
}

const COMMANDS: readonly StateCommand[] = [
  { name: 'suspend', state: 'suspended', description: 'cut a member off, everywhere, until it is resumed' },
  { name: 'resume', state: 'active', description: 'let a suspended member take part again' },
  { name: 'remove', state: 'removed', description: 'cut a member off for ever; its name is not given again' },
];

/** `suspend`, `resume` and `remove`. */
export function registerStates(registry: Command, env: CliEnv): void {
  for (const { name, state, description } of COMMANDS) {
    registry
      .command(name)
      .description(description)
      .argument('<org>', 'the member')
      .option(...DIR_OPTION)
      .option('--json', 'report as JSON')
      .addHelpText('after', examples(`fedgate registry ${name} GLOBEX --dir registry`))
      .action((org: string, flags: { dir: string; json?: boolean }) => setState(env, org, state, flags));
  }
}

async function setState(
  env: CliEnv,
  org: string,
  state: MemberState,
  { dir, json }: { readonly dir: string; readonly json?: boolean },
): Promise<void> {
  const snapshotVersion = await withAdmin(dir, admin => admin.setState(org, state, env.signal));
  if (json) return printJson(env, { org, state, snapshotVersion });
  await print(env, `${org} is ${state} as of snapshot ${snapshotVersion}`);
}
