import { join } from 'node:path';
import { MAX_BUNDLE_BYTES } from '../../src/approvals/verify/evidence.js';
import { readWholeFile } from '../../src/approvals/verify/measure.js';
import { readPolicy } from '../../src/approvals/verify/policy.js';
import { demandApproved, verifyFile } from '../../src/approvals/verify/verify.js';
import type { VerifyTimes } from './verify.js';

/**
 * A process that verifies and says how long it took; its loading does not count. The first full collection of V8 is due about then, for what
 * loading left behind: started with --expose-gc, it is done before.
 */
const [folder = ''] = process.argv.slice(2);
const path = (name: string): string => join(folder, name);

const start = performance.now();
const policy = await readPolicy(path('policy.yaml'));

async function verify(): Promise<number> {
  const from = performance.now();
  const bundles = [{ name: 'bundle.json', content: await readWholeFile(path('bundle.json'), MAX_BUNDLE_BYTES) }];
  demandApproved(await verifyFile(path('artifact'), { bundles, policy, memory: undefined, nowMs: Date.now() }), 'it');
  return performance.now() - from;
}

const read = performance.now();
globalThis.gc?.();
// In this order.
const times: VerifyTimes = { policy: read - start, first: await verify(), again: await verify() };
process.stdout.write(JSON.stringify(times));
