import type { FedgateError } from '../../../errors.js';
import { type CliEnv, printJson, say } from '../../env.js';
import { formatBytes } from '../../progress.js';
import type { JoinEnd } from './join.js';

export interface EventFlags {
  readonly json?: boolean;
}

/** Tells what happens to connections: to people on standard error, or as JSON on standard output. */
export class Events {
  readonly #env: CliEnv;
  readonly #json: boolean;
  #count = 0;

  constructor(env: CliEnv, { json = false }: EventFlags) {
    this.#env = env;
    this.#json = json;
  }

  tell(event: string, facts: Readonly<Record<string, unknown>>, text: string): void {
    if (this.#json) void printJson(this.#env, { event, ...facts }).catch(() => undefined);
    else say(this.#env, `fedgate: ${text}`);
  }

  /** A connection begins. Returns what tells its end. */
  opened(facts: Readonly<Record<string, unknown>>, text: string): (end: JoinEnd) => void {
    const connection = ++this.#count;
    this.tell('opened', { connection, ...facts }, `${connection}: ${text}`);
    return ({ sent, received, error }) => {
      const bytes = `${formatBytes(sent)} there, ${formatBytes(received)} back`;
      const reason = error && { reason: error.reason, message: error.message };
      this.tell(
        'closed',
        { connection, sent, received, ...reason },
        `${connection}: ${error ? `broken (${error.message} [${error.reason}])` : 'ended'}, ${bytes}`,
      );
    };
  }

  refused(error: FedgateError, text: string): void {
    this.tell(
      'refused',
      { reason: error.reason, message: error.message },
      `${text}: ${error.message} [${error.reason}]`,
    );
  }
}

/** Resolves when the user has enough. */
export function interrupted({ signal }: CliEnv): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
