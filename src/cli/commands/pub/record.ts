import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import type { RecordInit } from '../../../client/index.js';
import { describe, FedgateError } from '../../../errors.js';
import type { CliEnv } from '../../env.js';
import { NO_LINE_END } from '../../lines.js';
import { parsePairs } from '../../options.js';

export interface RecordOptions {
  readonly file?: string;
  readonly contentType?: string;
  readonly header?: readonly string[];
  readonly id?: string;
  readonly key?: string;
}

/** The one record to publish: from the arguments, a file, or standard input. Throws FILE_UNUSABLE. */
export async function readRecord(
  env: CliEnv,
  data: string | undefined,
  { file, contentType, header, id, key }: RecordOptions,
): Promise<RecordInit> {
  const headers = header && parsePairs(header, '--header');
  const common = { id, key, headers, contentType };
  if (data !== undefined) return { ...common, payload: data };
  const binary = contentType ?? 'application/octet-stream';
  if (file === undefined) return { ...common, payload: await buffer(env.stdin), contentType: binary };
  try {
    const payload = await readFile(file);
    return { ...common, payload, contentType: binary, headers: { ...NO_LINE_END, ...headers } };
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `--file ${file}: ${describe(cause)}`, { cause });
  }
}
