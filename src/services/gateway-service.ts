import type {
  DiagnoseRequest,
  DiagnoseResponse,
  GatewayServiceService,
  GetStatusResponse,
} from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import type { OrgName } from '../identity/names.js';
import { parseOrgName } from '../identity/names.js';
import type { Diagnosis, DiagnosisStep } from '../link/diagnose.js';
import type { Peer, PeerState } from '../link/peer.js';
import type { Access } from '../messaging/access.js';
import type { LiveSubscription } from '../messaging/live-subscription.js';
import type { CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';

export interface GatewayServiceHost {
  readonly access: Access;
  status(): GetStatusResponse;
  diagnose(org: OrgName, signal: AbortSignal): AsyncIterable<Diagnosis>;
}

export function gatewayService(
  wrapper: CallWrapper<{ readonly name: string }>,
  host: GatewayServiceHost,
): Handlers<typeof GatewayServiceService> {
  return {
    getStatus: wrapper.unary((_request, { caller }) => {
      host.access.checkStatus(caller.name);
      return host.status();
    }),
    diagnose: wrapper.serverStream(
      async (request: DiagnoseRequest, out: FrameWriter<DiagnoseResponse>, { caller, signal }) => {
        host.access.checkStatus(caller.name);
        const org = parseOrgName(request.org, 'org');
        for await (const diagnosis of host.diagnose(org, signal)) await out.send(toDiagnoseResponse(diagnosis));
      },
    ),
  };
}

const STEPS: { readonly [step in DiagnosisStep]: DiagnoseResponse['step'] } = {
  registry: 1,
  record: 2,
  tcp: 3,
  tls: 4,
  identity: 5,
  hello: 6,
  finding: 7,
};
const STATES: { readonly [state in PeerState]: 1 | 2 | 3 | 4 | 5 | 6 } = {
  idle: 1,
  connecting: 2,
  up: 3,
  backoff: 4,
  draining: 5,
  blocked: 6,
};

const toDiagnoseResponse = ({ step, durationMs, ...rest }: Diagnosis): DiagnoseResponse => ({
  ...rest,
  step: STEPS[step],
  durationUs: BigInt(Math.round(durationMs * 1000)),
});

export function toLinkStatus(peer: Peer): GetStatusResponse['links'][number] {
  const { link, totals } = peer;
  return {
    org: peer.org,
    gateway: link?.peer.name ?? '',
    state: STATES[peer.state],
    sinceMs: BigInt(peer.sinceMs),
    address: link?.address ?? '',
    dialled: link?.dialled ?? false,
    lastError: peer.lastError?.message ?? '',
    nextRetryMs: BigInt(Math.round(peer.nextRetryMs)),
    roundTripUs: BigInt(Math.round((link?.roundTripMs ?? 0) * 1000)),
    clockSkewMs: BigInt(link?.clockSkewMs ?? 0),
    recordsSent: BigInt(totals.sent + (link?.recordsSent ?? 0)),
    recordsReceived: BigInt(totals.received + (link?.recordsReceived ?? 0)),
    batchesLost: BigInt(totals.lost),
    foundBy: link?.source ?? '',
  };
}

export const toSubscriptionStatus = (subscription: LiveSubscription): GetStatusResponse['subscriptions'][number] => ({
  node: subscription.node,
  pattern: subscription.pattern.text,
  sinceMs: BigInt(subscription.sinceMs),
  recordsDelivered: BigInt(subscription.delivered),
  recordsDropped: BigInt(subscription.dropped),
  queuedBytes: BigInt(subscription.queuedBytes),
});
