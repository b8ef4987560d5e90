import type { Command } from 'commander';
import type { SurveyAnswer, SurveySummary } from '../../../client/index.js';
import type { FedgateError } from '../../../errors.js';
import { plural } from '../../counts.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { collect, type GatewayOptions, parseCount, parsePairs, withClient, withGatewayOptions } from '../../options.js';
import { shownPayload } from '../../shown.js';
import { readPayload, replyJson } from './request.js';

interface SurveyFlags extends GatewayOptions {
  readonly wait: string;
  readonly count?: string;
  readonly header?: readonly string[];
  readonly json?: boolean;
}

export function registerSurvey(program: Command, env: CliEnv): void {
  const command = program
    .command('survey')
    .argument(
      '<address>',
      '`channel`, `pubsub://ORG/channel`, `pubsub://*/channel` (all others) or `pubsub://@group/channel`',
    )
    .argument('[payload]', 'what is asked; standard input when it is left out or `-`')
    .description('ask everybody who answers there')
    .option('--wait <duration>', 'how long to wait for answers', '5s')
    .option('--count <n>', 'end after this many answers')
    .option('--header <name=value>', 'a header; may be repeated', collect)
    .option('--json', 'one JSON object per answer, and one for the end');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate survey stock/steel "how much?"',
        'fedgate survey pubsub://GLOBEX/stock/steel "how much?" --wait 3s --count 2',
        'fedgate survey "pubsub://*/stock/steel" "how much?"',
      )}\n\nWho did not answer is named at the end. Exits with ${EXIT.nothingThere} when nobody answers there, or nobody did.`,
    )
    .action((address: string, payload: string | undefined, flags: SurveyFlags) => ask(env, address, payload, flags));
}

async function ask(env: CliEnv, address: string, payload: string | undefined, flags: SurveyFlags): Promise<void> {
  const options = {
    timeoutMs: parseDuration(flags.wait, '--wait'),
    maxAnswers: flags.count === undefined ? 0 : parseCount(flags.count, '--count', 1),
    headers: flags.header && parsePairs(flags.header, '--header'),
    signal: env.signal,
  };
  const content = await readPayload(env, payload);
  await withClient(env, flags, async client => {
    const survey = client.survey(address, content, options);
    for await (const answer of survey)
      await (flags.json ? printJson(env, answerJson(answer)) : print(env, describeAnswer(answer)));
    const summary = await survey.summary;
    if (flags.json) await printJson(env, { summary: summaryJson(summary) });
    else tell(env, summary);
    if (summary.answered === 0) env.exitCode = EXIT.nothingThere;
  });
}

function describeAnswer({ org, node, reply, error }: SurveyAnswer): string {
  const said = reply ? shownPayload(reply.payload) : `error ${error?.code}: ${error?.message}`;
  return `${org}/${node}: ${said}`;
}

const answerJson = ({ org, node, reply, error }: SurveyAnswer): object =>
  reply ? replyJson(reply) : { org, node, error: { code: error?.code, message: error?.message } };

const summaryJson = ({ orgs, ...rest }: SurveySummary): object => ({
  ...rest,
  ...(orgs ? { orgs: orgs.map(({ error, ...org }) => (error ? { ...org, error: errorJson(error) } : org)) } : {}),
});

const errorJson = ({ reason, message }: FedgateError): object => ({ reason, message });

function tell(env: CliEnv, { asked, answered, missing, orgs = [] }: SurveySummary): void {
  say(env, `fedgate: ${answered} of ${plural(asked, 'responder')} answered`);
  for (const { org, node, why } of missing) say(env, `fedgate: ${org}/${node}: ${why}`);
  for (const { org, answered: here, asked: of, error, early } of orgs) {
    const fate = error ? `${error.message} [${error.reason}]` : early ? 'not awaited' : `${here} of ${of} answered`;
    say(env, `fedgate: ${org}: ${fate}`);
  }
}
