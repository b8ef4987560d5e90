import { PolicyServiceService } from '../../gen/ts/fedgate/policy/v1/policy_service.js';
import { readKeyAndCertificate, readText } from '../identity/files.js';
import type { OrgName } from '../identity/names.js';
import { RemotePolicy } from '../policy/remote-policy.js';
import { NO_POLICY, type Policy, type PolicyAction } from '../policy/types.js';
import type { Log } from '../telemetry/log.js';
import { openChannel } from '../transport/channel.js';
import { callUnary } from '../transport/client-calls.js';
import type { GatewayConfig } from './config.js';

/** Who asks. */
interface Asker {
  readonly federation: string;
  readonly org: OrgName;
  readonly gateway: string;
}

/** An answer is a few hundred bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;

const ACTION = { publish: 1, deliver: 2, request: 3, fetch: 4 } as const satisfies Record<PolicyAction, number>;

/** The policy of a gateway, and how to let go of it. Throws FILE_UNUSABLE, KEY_EXPOSED. A server that is not there is no reason not to start. */
export async function openPolicy(
  config: GatewayConfig['policy'],
  asker: Asker,
  log: Log,
): Promise<{ readonly policy: Policy; close(): void }> {
  if (!config) return { policy: NO_POLICY, close: () => undefined };
  const { address, serverName, ca, certificate, key, timeoutMs, actions, cacheEntries } = config;
  const identity =
    certificate === undefined || key === undefined ? undefined : await readKeyAndCertificate(key, certificate);
  const channel = openChannel({
    address,
    ...(serverName === undefined ? {} : { serverName }),
    authorities: [await readText(ca, 'CA certificates of the policy server')],
    identity,
    window: MAX_ANSWER_BYTES,
    maxReceiveBytes: MAX_ANSWER_BYTES,
  });
  const policy = new RemotePolicy({
    org: asker.org,
    actions,
    cacheEntries,
    now: () => performance.now(),
    onTrouble: error => log.warn({ err: error, address }, 'the policy server does not answer'),
    ask: ({ action, subject, targetOrg, target, records, bytes }) =>
      callUnary(
        channel,
        PolicyServiceService.decide,
        { ...asker, action: ACTION[action], subject, targetOrg, target, records, bytes: BigInt(bytes) },
        { timeoutMs },
      ),
  });
  return { policy, close: () => channel.close() };
}
