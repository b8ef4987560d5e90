import type { Command } from 'commander';
import { fieldError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { DIR_OPTION, withAdmin } from './options.js';

interface InviteFlags {
  readonly dir: string;
  readonly lifetime: string;
  readonly json?: boolean;
}

export function registerInvite(registry: Command, env: CliEnv): void {
  registry
    .command('invite')
    .description('invite an organisation: prints a code that makes it a member once')
    .argument('<org>', 'the name it will have, such as ACME')
    .option(...DIR_OPTION)
    .option('--lifetime <duration>', 'how long the code is good, at most 30d', '24h')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      examples(
        'fedgate registry invite ACME --dir registry',
        'CODE=$(fedgate registry invite ACME --dir registry --lifetime 7d)',
      ),
    )
    .action((org: string, flags: InviteFlags) => invite(env, org, flags));
}

async function invite(env: CliEnv, org: string, { dir, lifetime, json }: InviteFlags): Promise<void> {
  const lifetimeSeconds = Math.ceil(parseDuration(lifetime, '--lifetime') / 1000);
  // The registry reads 0 as "as long as usual".
  if (lifetimeSeconds === 0) throw fieldError('--lifetime', 'must be longer than nothing');
  const { code, expireTimeMs } = await withAdmin(dir, admin =>
    admin.createInvitation(org, lifetimeSeconds, env.signal),
  );
  const expires = new Date(Number(expireTimeMs)).toISOString();
  if (json) return printJson(env, { org, code, expires });
  // Nothing but the code, so that `CODE=$(…)` holds it.
  await print(env, code);
  say(
    env,
    `good once, until ${expires}. Hand it to ${org} over a channel you trust; they run: fedgate org join CODE --dir ${org.toLowerCase()}`,
  );
}
