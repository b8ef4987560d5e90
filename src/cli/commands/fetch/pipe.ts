import type { FedgateClient } from '../../../client/index.js';
import { type CliEnv, say, write } from '../../env.js';
import { TransferReport } from '../../transfer-report.js';

/** Writes a share, or a range of it, to standard output. */
export async function pipe(
  env: CliEnv,
  client: FedgateClient,
  id: string,
  range: { readonly offset: number | undefined; readonly length: number | undefined },
): Promise<void> {
  const report = new TransferReport(env, false, {});
  try {
    const stream = await client.fetchStream(id, { ...range, onProgress: report.onProgress, signal: env.signal });
    for await (const bytes of stream) await write(env.stdout, bytes);
    report.stop();
    const isWhole = range.offset === undefined && range.length === undefined;
    if (isWhole) say(env, `${stream.share.sha256}  -`);
  } finally {
    report.stop();
  }
}
