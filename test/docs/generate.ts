import { readFile } from 'node:fs/promises';
import type { Argument, Command, Option } from 'commander';
import { EXIT_HELP, exitCodeOf } from '../../src/cli/exit-codes.js';
import { createProgram } from '../../src/cli/program.js';
import { FedgateError, REASONS, type Reason } from '../../src/errors.js';
import { CONFIG_VARIABLES } from '../../src/gateway/config.js';
import { packageRoot } from '../../src/package-root.js';
import { keyTable } from './config-keys.js';

/** Pages, and parts of pages, that are made from the code. `npm run docs` writes them; a test compares. */

export interface Page {
  /** Within the checkout. */
  readonly path: string;
  readonly content: string;
}

export const pageUrl = (path: string): URL => new URL(path, packageRoot);

export async function generatedPages(): Promise<Page[]> {
  return [
    { path: 'docs/cli.md', content: await cliPage() },
    { path: 'docs/errors.md', content: errorsPage() },
    { path: 'docs/configuration.md', content: await withPart('docs/configuration.md', 'keys', keyTable()) },
  ];
}

const GENERATED = '<!-- Made from the code by `npm run docs`. Change it there. -->';

/** A page with what stands between `<!-- NAME: made by npm run docs -->` and `<!-- end NAME -->` replaced. */
async function withPart(path: string, name: string, part: string): Promise<string> {
  const text = await readFile(pageUrl(path), 'utf8');
  const [begin, end] = [`<!-- ${name}: made by npm run docs -->\n`, `\n<!-- end ${name} -->`];
  const from = text.indexOf(begin);
  const to = text.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`${path} has no part ${name}`);
  return `${text.slice(0, from + begin.length)}\n${part}\n${text.slice(to)}`;
}

/** Text in a table: a bar would end the cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const row = (...cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const code = (text: string): string => `\`${text}\``;
const table = (heading: readonly string[], rows: readonly string[]): string[] => [
  row(...heading),
  `|${heading.map(() => '---|').join('')}`,
  ...rows,
  '',
];

async function cliPage(): Promise<string> {
  const written: string[] = [];
  const program = await createProgram({
    stdin: process.stdin,
    stdout: { write: (text: string) => written.push(text) } as never,
    stderr: process.stderr,
    terminal: false,
    variables: {},
    signal: new AbortController().signal,
    exitCode: 0,
  });
  const lines = [
    '# Command line',
    '',
    GENERATED,
    '',
    `${program.description()}. \`fedgate COMMAND --help\` says what stands here.`,
    '',
    'Results go to standard output; what is only for people (progress, notices, errors) goes to standard error. With `--json` the',
    'output is one JSON document, or one per line where there are several. A duration is a number and a unit: `500ms`, `10s`, `5m`,',
    '`24h`, `7d`.',
    '',
    '## Exit codes',
    '',
    ...table(
      ['code', 'meaning'],
      EXIT_HELP.map(([number, text]) => row(code(String(number)), cell(text))),
    ),
    'Which error ends with which code: [errors.md](errors.md).',
    '',
    '## Environment',
    '',
    ...table(['variable', 'meaning'], VARIABLES),
    '## Commands',
    '',
    ...leaves(program).flatMap(command => commandSection(command, written)),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

const VARIABLES = [
  row(code('FEDGATE_CONTEXT'), 'the context to use when `--context` is not given: a name, or a path with a `/` in it'),
  row(code('FEDGATE_CONFIG_DIR'), 'the folder of `contexts.yaml`; otherwise `$XDG_CONFIG_HOME/fedgate` or its default'),
  row(
    code('FEDGATE_STATE_DIR'),
    'where `share` and `fetch` note what they need to go on after an interruption; otherwise `$XDG_STATE_HOME/fedgate` or its default',
  ),
  ...Object.entries(CONFIG_VARIABLES).map(([name, key]) =>
    row(code(name), `in place of ${code(key.join('.'))} of gateway.yaml; see [configuration.md](configuration.md)`),
  ),
  row(code('GRPC_VERBOSITY'), 'any value brings back what the gRPC library prints to standard error'),
];

/** The commands that do something, in the order of `fedgate --help`. */
export const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);

function pathOf(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}

function commandSection(command: Command, written: string[]): string[] {
  const help = command.createHelp();
  const values = [
    ...command.registeredArguments.map(argumentRow),
    ...help
      .visibleOptions(command)
      .filter(option => option.long !== '--help')
      .map(optionRow),
  ];
  return [
    `### ${pathOf(command)}`,
    '',
    `${upperFirst(command.description())}.`,
    '',
    '```text',
    `${pathOf(command)} ${command.usage()}`,
    '```',
    '',
    ...table(['argument or option', 'meaning', 'default'], values),
    ...textAfter(command, written),
  ];
}

function argumentRow(argument: Argument): string {
  const name = argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
  return row(code(name), cell(argument.description || argument.name()), argument.required ? 'required' : '');
}

function optionRow({ flags, description, mandatory, defaultValue, argChoices }: Option): string {
  const choices = argChoices ? `: ${argChoices.map(code).join(', ')}` : '';
  const isValue = typeof defaultValue === 'string' && defaultValue !== '';
  return row(code(flags), cell(description) + choices, mandatory ? 'required' : isValue ? code(defaultValue) : '');
}

/** Examples and notes: what `--help` prints behind the options. */
function textAfter(command: Command, written: string[]): string[] {
  written.length = 0;
  command.outputHelp();
  const after = written.join('').slice(command.helpInformation().length).trim();
  const [examples = '', ...notes] = after.replace(/^Examples:\n/, '').split('\n\n');
  const block = examples.split('\n').map(line => line.replace(/^ {2}/, ''));
  return ['```sh', ...block, '```', '', ...notes.flatMap(note => [note, ''])];
}

const upperFirst = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

function errorsPage(): string {
  const rows = Object.entries(REASONS).map(([reason, { status, retryable, help }]) => {
    const exit = exitCodeOf(new FedgateError(reason as Reason, ''));
    return row(code(reason), status, retryable ? 'yes' : 'no', String(exit), cell(help));
  });
  const lines = [
    '# Errors',
    '',
    GENERATED,
    '',
    'Every refusal has one reason out of this list. A program acts on the reason; the message is for people and may change.',
    '',
    'Over gRPC a reason travels as the status named here with a `google.rpc.Status` in the trailer `grpc-status-details-bin`. Its details:',
    '',
    ...table(
      ['detail', 'when', 'holds'],
      [
        row('`ErrorInfo`', 'always', 'the reason, the domain `fedgate`, and what stands in the message as metadata'),
        row('`BadRequest`', 'a field breaks its rules', 'the path of the field and the rule'),
        row('`QuotaFailure`', 'the status is RESOURCE_EXHAUSTED', 'which limit'),
        row('`RetryInfo`', 'a good moment to try again is known', 'how long to wait'),
        row('`RequestInfo`', 'the reason is INTERNAL', 'the request id under which the log holds the cause'),
      ],
    ),
    'In answers inside a stream the same `google.rpc.Status` is a field of the answer. The SDK turns both into a `FedgateError` with',
    '`reason`, `status`, `retryable`, `metadata`, `fields` and `retryAfterMs`.',
    '',
    '*Retryable*: the same call may succeed later without anybody changing anything. *Exit*: what a command of `fedgate` ends with.',
    '',
    ...table(['reason', 'gRPC status', 'retryable', 'exit', 'meaning, and what to do'], rows),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}
