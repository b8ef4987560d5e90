import type { Command } from 'commander';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { describePaused, describeTopic, topicJson, topicsTable } from './text.js';

interface TopicsOptions extends GatewayOptions {
  readonly json?: boolean;
}

/** `fedgate topics …`: what the own gateway knows of topics. */
export function registerTopics(program: Command, env: CliEnv): void {
  const topics = program.command('topics').description('see topics, who writes on them and what is held of them');
  const list = topics
    .command('list')
    .description('show the topics that you may publish to or read')
    .option('--json', 'show as JSON');
  withGatewayOptions(list)
    .addHelpText('after', examples('fedgate topics list', "fedgate topics list --json | jq -r '.topics[].topic'"))
    .action((options: TopicsOptions) => showList(env, options));
  const show = topics
    .command('show')
    .argument('<topic>', '`topic://name`, or the name')
    .description('show one topic: its authors, where their records come from, and of whom nothing is taken')
    .option('--json', 'show as JSON');
  withGatewayOptions(show)
    .addHelpText(
      'after',
      `${examples('fedgate topics show topic://prices/steel')}\n\nExits with ${EXIT.nothingThere} when the gateway knows nothing of it.`,
    )
    .action((topic: string, options: TopicsOptions) => showOne(env, topic, options));
}

async function showList(env: CliEnv, options: TopicsOptions): Promise<void> {
  const { topics, paused } = await withClient(env, options, client => client.topics());
  if (options.json) return printJson(env, { topics: topics.map(topicJson), paused: paused.map(describePaused) });
  for (const each of paused) say(env, `fedgate: ${describePaused(each)}`);
  await print(env, topics.length === 0 ? 'the gateway knows of no topic that you may use' : topicsTable(topics));
}

async function showOne(env: CliEnv, topic: string, options: TopicsOptions): Promise<void> {
  const { topics, paused } = await withClient(env, options, client => client.topics(topic));
  const [found] = topics;
  if (!found) {
    env.exitCode = EXIT.nothingThere;
    return say(env, `fedgate: nothing is known of ${topic}`);
  }
  if (options.json) return printJson(env, topicJson(found));
  for (const each of paused) say(env, `fedgate: ${describePaused(each)}`);
  await print(env, describeTopic(found, Date.now()));
}
