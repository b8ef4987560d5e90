import type { Command } from 'commander';
import { parseOrgName } from '../../../identity/names.js';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { outboxJson } from './text.js';

interface PausingCommand {
  readonly name: string;
  readonly paused: boolean;
  readonly description: string;
}

const COMMANDS: readonly PausingCommand[] = [
  {
    name: 'pause',
    paused: true,
    description: 'stop sending to an organisation; what is published meanwhile waits',
  },
  { name: 'resume', paused: false, description: 'go on sending to an organisation' },
];

/** `pause` and `resume`. */
export function registerPausing(outbox: Command, env: CliEnv): void {
  for (const { name, paused, description } of COMMANDS) {
    const command = outbox
      .command(name)
      .argument('<org>', 'the organisation')
      .description(description)
      .option('--json', 'report as JSON');
    withGatewayOptions(command)
      .addHelpText('after', examples(`fedgate outbox ${name} GLOBEX`))
      .action((org: string, options: GatewayOptions & { json?: boolean }) => setPaused(env, org, paused, options));
  }
}

async function setPaused(
  env: CliEnv,
  org: string,
  paused: boolean,
  options: GatewayOptions & { json?: boolean },
): Promise<void> {
  parseOrgName(org, 'org');
  const outbox = await withClient(env, options, client => client.durable.setOutboxPaused(org, paused));
  if (options.json) return printJson(env, outboxJson(outbox));
  const waiting = `${plural(outbox.waitingRecords, 'record')} ${outbox.waitingRecords === 1n ? 'waits' : 'wait'}`;
  await print(env, `sending to ${org} ${paused ? 'is paused' : 'goes on'}; ${waiting}`);
}
