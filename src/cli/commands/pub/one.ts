import type { FedgateClient, RecordInit } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { formatDuration } from '../../duration.js';
import { type CliEnv, print, printJson } from '../../env.js';
import type { DeliveryWish } from './delivery.js';
import { describeReport, exitCodeFor, orgOf, publishOptions, reportJson } from './report.js';

/** Publishes one record and tells what became of it. */
export async function publishOne(
  env: CliEnv,
  client: FedgateClient,
  address: string,
  record: RecordInit,
  { wish, patienceMs, json }: { readonly wish: DeliveryWish; readonly patienceMs: number; readonly json: boolean },
): Promise<void> {
  try {
    const report = await client.publish(address, record, publishOptions(wish, patienceMs));
    env.exitCode = exitCodeFor(report);
    await (json ? printJson(env, { records: 1, ...reportJson(report) }) : print(env, describeReport(report)));
  } catch (error) {
    // Nobody asked for a level, and the record is safe: that is what a person wants to know.
    if (!(error instanceof FedgateError) || error.reason !== 'ACK_TIMEOUT' || !wish.ackIsDefault) throw error;
    const org = orgOf(address);
    if (json) return printJson(env, { records: 1, side: 'remote', org, level: 'stored', confirmed: false });
    const within = formatDuration(wish.ackTimeoutMs);
    await print(env, `stored here; ${org} has not confirmed within ${within}, it is sent when ${org} can be reached`);
  }
}
