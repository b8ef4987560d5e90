import { hostname } from 'node:os';
import { type DestinationStream, type Logger, pino } from 'pino';
import { FedgateError } from '../errors.js';

export type Log = Logger;

export interface LogOptions {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** `auto`: pretty on a terminal, JSON otherwise. */
  readonly format: 'auto' | 'json' | 'pretty';
  /** @default standard error's file descriptor for `pretty`, standard output's for JSON */
  readonly destination?: DestinationStream;
}

/**
 * Makes the log. Messages are constant, facts are fields; keys, tokens and payloads never become fields, and the paths below are cut
 * out should one slip in.
 */
export function createLog({ level, format, destination }: LogOptions): Log {
  const pretty = format === 'pretty' || (format === 'auto' && process.stdout.isTTY === true);
  const stream = destination ?? (pretty ? prettyStream(process.stdout) : pino.destination({ fd: 1, sync: true }));
  return pino(
    {
      level,
      base: { pid: process.pid, host: hostname() },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      redact: {
        paths: ['key', '*.key', 'secret', '*.secret', 'token', '*.token', 'code', 'payload', '*.payload'],
        censor: '[cut]',
      },
      serializers: { err: serializeError },
    },
    stream,
  );
}

/** An error as fields: its reason and message, the causes below it, a stack only for what nobody foresaw. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const cause = error.cause === undefined ? {} : { cause: serializeError(error.cause) };
  if (error instanceof FedgateError)
    return { reason: error.reason, message: error.message, ...error.metadata, ...cause };
  return { message: error.message, stack: error.stack, ...cause };
}

const COLOURS: Readonly<Record<string, string>> = {
  trace: '\u001b[90m',
  debug: '\u001b[90m',
  info: '\u001b[32m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
  fatal: '\u001b[31m',
};
const RESET = '\u001b[0m';
const SHOWN_ELSEWHERE = new Set(['level', 'time', 'msg', 'pid', 'host', 'err']);

/** One line per event for people: time, level, message, facts. */
export function prettyLine(json: string, colour: boolean): string {
  const event = JSON.parse(json) as Record<string, unknown> & {
    level: string;
    time: string;
    msg: string;
    err?: { message?: string };
  };
  const paint = (text: string, code: string): string => (colour ? `${code}${text}${RESET}` : text);
  const level = paint(event.level.toUpperCase().padEnd(5), COLOURS[event.level] ?? '');
  const facts = Object.entries(event)
    .filter(([name]) => !SHOWN_ELSEWHERE.has(name))
    .map(
      ([name, value]) =>
        paint(`${name}=`, COLOURS.debug ?? '') + (typeof value === 'string' ? printable(value) : JSON.stringify(value)),
    );
  if (event.err?.message) facts.push(paint('error=', COLOURS.error ?? '') + JSON.stringify(event.err.message));
  return `${event.time.slice(11, 23)} ${level} ${event.msg}${facts.length > 0 ? `  ${facts.join(' ')}` : ''}\n`;
}

/** Names that others chose must not draw on our terminal. */
const printable = (text: string): string => (/^[\w./:@*-]+$/.test(text) ? text : JSON.stringify(text));

const prettyStream = (out: NodeJS.WriteStream): DestinationStream => ({
  write: line => void out.write(prettyLine(line, out.isTTY === true)),
});
