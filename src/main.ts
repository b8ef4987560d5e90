import { run } from './cli/program.js';
import { quietGrpc } from './transport/quiet.js';

quietGrpc(process.env);

const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => interrupted.abort());
}
// Whoever starts us with a channel, as the demo does, takes us along when it goes, however it goes.
process.once('disconnect', () => interrupted.abort());
process.channel?.unref();
// A pipe whose reader has gone, or a full disk: the write that notices ends the command. What people are told ends nothing.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

/** What a connection has to end, once the command is over. One to a peer that reads nothing never does. */
const LINGER_MS = 1_000;

process.exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  terminal: process.stderr.isTTY === true,
  variables: process.env,
  signal: interrupted.signal,
  exitCode: 0,
});
if (interrupted.signal.aborted) setTimeout(() => process.exit(), LINGER_MS).unref();
