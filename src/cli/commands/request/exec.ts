import { type ChildProcess, spawn } from 'node:child_process';
import { type IncomingRequest, RequestError } from '../../../client/index.js';
import { MAX_RECORD_BYTES } from '../../../wire/records.js';

/** A reply that fits into a record, with room for what stands beside it. */
const MAX_REPLY_BYTES = MAX_RECORD_BYTES - 16 * 1024;
/** The end of what the command complained about. */
const MAX_COMPLAINT_BYTES = 1_000;
/** How long a command that is told to end has for it, milliseconds. */
const KILL_AFTER_MS = 2_000;

type Variables = Readonly<Record<string, string | undefined>>;

/** Runs a command with the request on its standard input; resolves with what it wrote. Throws RequestError; kills it with the request. */
export async function runForRequest(command: string, request: IncomingRequest, variables: Variables): Promise<Buffer> {
  // A group of its own: the shell is killed with all that it started.
  const child = spawn(command, {
    shell: true,
    detached: process.platform !== 'win32',
    env: { ...process.env, ...variables, ...describeRequest(request) },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stop = (): void => kill(child);
  request.signal.addEventListener('abort', stop, { once: true });
  if (request.signal.aborted) stop();
  const reply = collect(child, request.payload);
  try {
    return await reply;
  } finally {
    request.signal.removeEventListener('abort', stop);
  }
}

const describeRequest = (request: IncomingRequest): Record<string, string> => ({
  FEDGATE_CHANNEL: request.channel,
  FEDGATE_SENDER_ORG: request.senderOrg,
  FEDGATE_SENDER_NODE: request.senderNode,
  FEDGATE_TIMEOUT_MS: String(request.timeoutMs),
  FEDGATE_ATTEMPT: String(request.attempt),
  FEDGATE_HEADERS: JSON.stringify(Object.fromEntries(request.headers)),
});

function collect(child: ChildProcess, payload: Buffer): Promise<Buffer> {
  const out: Buffer[] = [];
  let bytes = 0;
  let complaint: Buffer = Buffer.alloc(0);
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_REPLY_BYTES) out.push(chunk);
    else kill(child);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = Buffer.concat([complaint, chunk]).subarray(-MAX_COMPLAINT_BYTES);
  });
  // A command that does not read what it is given is its own business.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(payload);
  return new Promise((resolve, reject) => {
    child.on('error', error => reject(new RequestError('NOT_STARTED', error.message)));
    child.on('close', (code, signal) => {
      if (bytes > MAX_REPLY_BYTES) reject(new RequestError('REPLY_TOO_LARGE', `over ${MAX_REPLY_BYTES} bytes`));
      else if (code === 0) resolve(Buffer.concat(out));
      else reject(new RequestError(code === null ? `KILLED_${signal}` : `EXIT_${code}`, textOf(complaint)));
    });
  });
}

/** Cut in the middle of a character, it would be longer as text than it was. */
const textOf = (complaint: Buffer): string =>
  complaint
    .toString('utf8')
    .replace(/^\uFFFD+/, '')
    .trim()
    .slice(-500);

function kill(child: ChildProcess): void {
  const send = (signal: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined && process.platform !== 'win32') process.kill(-child.pid, signal);
      else child.kill(signal);
    } catch {
      // It has ended.
    }
  };
  if (child.exitCode !== null || child.signalCode !== null) return;
  send('SIGTERM');
  const timer = setTimeout(() => send('SIGKILL'), KILL_AFTER_MS);
  child.once('close', () => clearTimeout(timer));
}
