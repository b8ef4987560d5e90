import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import envPaths from 'env-paths';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { describe, FedgateError, quoted } from '../errors.js';
import { readCertificate, readKeyAndCertificate, readText, writeFileAtomically } from '../identity/files.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { tokenFile } from './token.js';

/** Which gateway, and as whom. Paths are relative to the file the context stands in. */
const contextSchema = z.strictObject({
  gateway: z.string(),
  serverName: z.string(),
  /** Certificate and key, or a token. */
  certificate: z.string().optional(),
  key: z.string().optional(),
  ca: z.string(),
  /** A file with a bearer token, read anew whenever one is needed. */
  tokenFile: z.string().optional(),
  /** The node that the token makes of a program. */
  node: z.string().optional(),
});

const contextsSchema = z.strictObject({
  current: z.string().optional(),
  contexts: z.record(z.string(), contextSchema).default({}),
});

export type Context = z.output<typeof contextSchema>;

/** All contexts of a user. */
export interface Contexts {
  current?: string | undefined;
  contexts: Record<string, Context>;
}

/** A context with its files read. */
export interface LoadedContext {
  readonly address: string;
  readonly serverName: string;
  /** Undefined: there is a token instead. */
  readonly identity: KeyAndCertificate | undefined;
  readonly authorities: readonly string[];
  readonly token?: (() => Promise<string>) | undefined;
  readonly node?: string | undefined;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** `contexts.yaml` in the user's configuration folder (XDG_CONFIG_HOME on Linux), or in FEDGATE_CONFIG_DIR. */
export function contextsFile(variables: Variables = process.env): string {
  const folder =
    variables.FEDGATE_CONFIG_DIR ??
    (variables.XDG_CONFIG_HOME
      ? join(variables.XDG_CONFIG_HOME, 'fedgate')
      : envPaths('fedgate', { suffix: '' }).config);
  return join(folder, 'contexts.yaml');
}

/** What commands keep between two runs: a folder of the user (XDG_STATE_HOME on Linux), or FEDGATE_STATE_DIR. */
export function stateFolder(variables: Variables = process.env): string {
  if (variables.FEDGATE_STATE_DIR) return variables.FEDGATE_STATE_DIR;
  return variables.XDG_STATE_HOME ? join(variables.XDG_STATE_HOME, 'fedgate') : envPaths('fedgate', { suffix: '' }).log;
}

/** Throws FILE_UNUSABLE for a file that is there but is not one of contexts. */
export async function readContexts(path: string): Promise<Contexts> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { contexts: {} };
    throw new FedgateError('FILE_UNUSABLE', `${path}: ${describe(error)}`, { cause: error });
  }
  return parseFile(path, text, contextsSchema);
}

export async function writeContexts(path: string, contexts: Contexts): Promise<void> {
  await writeFileAtomically(path, stringify(contexts), 0o600);
}

/** Writes a context file of its own, as it stands beside a node's key. */
export async function writeContextFile(path: string, context: Context): Promise<void> {
  await writeFileAtomically(path, stringify(context));
}

/**
 * Finds a context: by the path of a context file, by name, or the current one. `FEDGATE_CONTEXT` stands in for a missing choice.
 * Throws CONTEXT_UNKNOWN, FILE_UNUSABLE, KEY_EXPOSED.
 */
export async function loadContext(choice?: string, variables: Variables = process.env): Promise<LoadedContext> {
  const wanted = choice ?? variables.FEDGATE_CONTEXT;
  if (wanted?.includes('/')) {
    return loadFiles(parseFile(wanted, await readText(wanted, 'context'), contextSchema), dirname(wanted));
  }
  const path = contextsFile(variables);
  const { current, contexts } = await readContexts(path);
  const name = wanted ?? current;
  if (name === undefined)
    throw new FedgateError(
      'CONTEXT_UNKNOWN',
      'no context is chosen; `fedgate node add NAME` makes one, --context or FEDGATE_CONTEXT chooses',
    );
  const context = Object.hasOwn(contexts, name) ? contexts[name] : undefined;
  if (!context)
    throw new FedgateError(
      'CONTEXT_UNKNOWN',
      `${path} has no context ${quoted(name)}; it has: ${Object.keys(contexts).join(', ') || 'none'}`,
    );
  return loadFiles(context, dirname(path));
}

async function loadFiles(context: Context, folder: string): Promise<LoadedContext> {
  const { gateway: address, serverName, key, certificate, node } = context;
  const token = context.tokenFile === undefined ? undefined : tokenFile(resolve(folder, context.tokenFile));
  if (!token && (key === undefined || certificate === undefined))
    throw new FedgateError('FILE_UNUSABLE', 'the context has neither `certificate` and `key` nor a `tokenFile`');
  const identity =
    key === undefined || certificate === undefined
      ? undefined
      : await readKeyAndCertificate(resolve(folder, key), resolve(folder, certificate));
  const ca = await readCertificate(resolve(folder, context.ca));
  return { address, serverName, identity, authorities: [ca], token, node };
}

function parseFile<T>(path: string, text: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(parse(text) ?? {});
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${path}: not a context file: ${describe(cause).split('\n')[0]}`, {
      cause,
    });
  }
}
