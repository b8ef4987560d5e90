import { Command, CommanderError } from 'commander';
import { FedgateError } from '../errors.js';
import { SOFTWARE_VERSION } from '../version.js';
import { COMMAND_GROUPS } from './commands/index.js';
import { type CliEnv, say } from './env.js';
import { EXIT, EXIT_HELP, exitCodeOf } from './exit-codes.js';

/** Builds the command line: all of it, or of its commands the one that is `wanted`, if there is one of that name. */
export async function createProgram(env: CliEnv, wanted?: string): Promise<Command> {
  const program = new Command('fedgate')
    .description(
      "A federation gateway: organisations exchange messages, requests, files and approvals without trusting each other's networks",
    )
    .version(SOFTWARE_VERSION)
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride()
    // Options of a command that are named as one of the program, such as --version, are the command's.
    .enablePositionalOptions()
    .configureOutput({ writeOut: text => env.stdout.write(text), writeErr: text => env.stderr.write(text) })
    .addHelpText(
      'after',
      `\nExit codes:\n${EXIT_HELP.map(([code, text]) => `  ${String(code).padEnd(4)} ${text}`).join('\n')}\n\nFirst steps:\n  fedgate demo                 see it work\n  fedgate registry init --help start a federation of your own`,
    );
  const isKnown = COMMAND_GROUPS.some(({ commands }) => wanted !== undefined && Object.hasOwn(commands, wanted));
  for (const { title, commands } of COMMAND_GROUPS) {
    program.commandsGroup(title);
    for (const [name, load] of Object.entries(commands)) {
      if (!isKnown || name === wanted) (await load())(program, env);
    }
  }
  program.commandsGroup('Help:').helpCommand(true);
  inherit(program);
  return program;
}

/** Settings of the program that commander does not hand down to commands made elsewhere. */
function inherit(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    inherit(child);
  }
}

/** Runs one command line; returns the exit code. Never throws. */
export async function run(argv: readonly string[], env: CliEnv): Promise<number> {
  try {
    const program = await createProgram(env, argv[0]);
    await program.parseAsync([...argv], { from: 'user' });
    return env.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (env.signal.aborted && error instanceof FedgateError && error.reason === 'CANCELLED') return EXIT.interrupted;
    // A reader that went away, as in `fedgate sub … | head`, is not an error.
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') return EXIT.ok;
    report(env, error);
    return exitCodeOf(error);
  }
}

function report(env: CliEnv, error: unknown): void {
  if (error instanceof FedgateError) say(env, `fedgate: ${error.message} [${error.reason}]`);
  else say(env, `fedgate: unexpected: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
}
