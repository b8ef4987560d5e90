import type { FedgateClient, FetchOptions } from '../../../client/index.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { type ProgressReport, TransferReport } from '../../transfer-report.js';

export interface FetchWish {
  readonly overwrite: boolean;
  readonly json: boolean;
}

/** Where a file goes. */
export interface FetchPlace {
  readonly to: string;
  /** Where it will be, when it is moved later: what is told. */
  readonly shown?: string;
  readonly accept?: FetchOptions['accept'];
}

/** A file that is there, fetched now or before. */
export interface Fetched {
  readonly share: string;
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  readonly resumedBytes?: number;
}

/** Fetches one file. */
export async function fetchOne(
  env: CliEnv,
  client: FedgateClient,
  id: string,
  { to, shown = to, accept }: FetchPlace,
  { overwrite, json }: FetchWish,
  report: ProgressReport = new TransferReport(env, json, { share: id, path: shown }),
): Promise<Fetched> {
  try {
    const { onProgress } = report;
    const { resumedBytes, share } = await client.fetch(id, { to, overwrite, accept, onProgress, signal: env.signal });
    return { share: id, path: shown, size: share.size, sha256: share.sha256, resumedBytes };
  } finally {
    report.stop();
  }
}

/** Tells its digest and path, as sha256sum does. */
export const tellFetched = (env: CliEnv, json: boolean, facts: Fetched): Promise<void> =>
  json ? printJson(env, { event: 'fetched', ...facts }) : print(env, sumLine(facts.sha256, facts.path));

/** A line that `sha256sum -c` reads: what would end it, or stand for that, is escaped, which a backslash in front of all says. */
function sumLine(sha256: string, path: string): string {
  const escaped = path.replace(/[\\\n\r]/g, character => ESCAPES.get(character) ?? character);
  return `${escaped === path ? '' : '\\'}${sha256}  ${escaped}`;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\\', '\\\\'],
  ['\n', '\\n'],
  ['\r', '\\r'],
]);
