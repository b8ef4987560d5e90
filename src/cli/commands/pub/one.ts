import type { FedgateClient, RecordInit } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { type CliEnv, print, printJson } from '../../env.js';
import type { DeliveryWish } from './delivery.js';
import { describeLate, describeReport, exitCodeFor, isLate, orgOf, publishOptions, reportJson } from './report.js';

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
    env.exitCode = exitCodeFor(report, wish);
    await (json ? printJson(env, { records: 1, ...reportJson(report) }) : print(env, describeReport(report, wish)));
  } catch (error) {
    // The record is safe: that is what a person wants to know.
    if (!(error instanceof FedgateError) || !isLate(error, wish)) throw error;
    const org = orgOf(address);
    if (json) return printJson(env, { records: 1, side: 'remote', org, level: 'stored', confirmed: false });
    await print(env, describeLate(org, wish));
  }
}
