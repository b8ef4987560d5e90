import type { Command } from 'commander';
import { contextsFile, readContexts, writeContexts } from '../../../client/context.js';
import { FedgateError, quoted } from '../../../errors.js';
import { type CliEnv, print, printJson, say, table } from '../../env.js';
import { examples } from '../../help.js';

export function registerContext(program: Command, env: CliEnv): void {
  const context = program.command('context').description('choose which gateway to use, and as whom');
  context
    .command('list')
    .description('list the contexts; * marks the current one')
    .option('--json', 'list as JSON')
    .addHelpText('after', examples('fedgate context list'))
    .action(({ json }: { json?: boolean }) => list(env, json === true));
  context
    .command('use')
    .argument('<name>', 'one that `fedgate context list` shows')
    .description('make a context the current one')
    .addHelpText(
      'after',
      examples(
        'fedgate context use acme-billing',
        'FEDGATE_CONTEXT=globex-erp fedgate sub "orders/*"   # for one command',
      ),
    )
    .action((name: string) => use(env, name));
}

async function list(env: CliEnv, json: boolean): Promise<void> {
  const { current, contexts } = await readContexts(contextsFile(env.variables));
  if (json)
    return printJson(
      env,
      Object.entries(contexts).map(([name, context]) => ({ name, current: name === current, ...context })),
    );
  const rows = Object.entries(contexts).map(([name, context]) => [
    name === current ? '*' : '',
    name,
    context.gateway,
    context.serverName,
  ]);
  if (rows.length === 0) return say(env, 'there are no contexts; `fedgate node add NAME` makes one');
  await print(env, table([['', 'NAME', 'GATEWAY', 'SERVER NAME'], ...rows]));
}

async function use(env: CliEnv, name: string): Promise<void> {
  const path = contextsFile(env.variables);
  const contexts = await readContexts(path);
  if (!Object.hasOwn(contexts.contexts, name))
    throw new FedgateError('CONTEXT_UNKNOWN', `${path} has no context ${quoted(name)}`);
  await writeContexts(path, { ...contexts, current: name });
  say(env, `context ${name} is now the current one`);
}
