import type { ServiceDefinition } from '@grpc/grpc-js';
import {
  type AcknowledgeAnswerRequest,
  type AcknowledgeAnswerResponse,
  AwaitAnswerResponse,
  type CancelStoredRequestRequest,
  type CancelStoredRequestResponse,
  type GetAnswerRequest,
  GetAnswerResponse,
  type ListStoredRequestsRequest,
  type ListStoredRequestsResponse,
  type RequestLaterResponse,
  type StoredRequest,
  StoredRequestServiceService,
} from '../../gen/ts/fedgate/messaging/v1/stored_request_service.js';
import type { AskedRow } from '../../gen/ts/fedgate/store/v1/stored_request.js';
import { fieldError } from '../errors.js';
import { full } from '../requests/pending.js';
import { type AskedView, STATE } from '../requests/stored/asking.js';
import type { StoredRequests } from '../requests/stored/stored-requests.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { readLaterRequest } from '../wire/request-frames.js';

export interface StoredRequestHost {
  readonly stored: StoredRequests;
  /** Fires when the gateway stops. */
  readonly draining: AbortSignal;
}

/** Requests in one page of a list. */
export const DEFAULT_STORED_PAGE = 100;
export const MAX_STORED_PAGE = 1_000;
/** Answers that one node may wait for at once. */
export const MAX_AWAITED_PER_NODE = 1_000;

const { requestLater, getAnswer, awaitAnswer } = StoredRequestServiceService;
const asBytes = (bytes: Buffer): Buffer => bytes;

/** The service with records left as bytes. */
export const storedRequestDefinition: ServiceDefinition = {
  ...StoredRequestServiceService,
  requestLater: { ...requestLater, requestDeserialize: asBytes },
  getAnswer: { ...getAnswer, responseSerialize: asBytes },
  awaitAnswer: { ...awaitAnswer, responseSerialize: asBytes },
} as ServiceDefinition;

type Context = CallContext<{ readonly name: string }>;

export function storedRequestService(
  wrapper: CallWrapper<{ readonly name: string }>,
  { stored, draining }: StoredRequestHost,
): Handlers<typeof StoredRequestServiceService> {
  const { asking } = stored;
  const awaited = new Map<string, number>();
  return {
    requestLater: wrapper.unary(async (bytes: Buffer, { caller }: Context): Promise<RequestLaterResponse> => {
      if (draining.aborted) throw draining.reason;
      const { address, record, ...terms } = readLaterRequest(bytes);
      const { id, duplicate, expireMs } = await stored.ask(caller.name, address, record, terms);
      return { requestId: id, duplicate, expireTimeMs: BigInt(expireMs) };
    }),
    getAnswer: wrapper.unary(async ({ requestId }: GetAnswerRequest, { caller }: Context): Promise<Buffer> => {
      const view = await asking.get(caller.name, checkedId(requestId));
      return withRecord(GetAnswerResponse.encode({ request: toMessage(view), record: undefined }).finish(), view);
    }),
    awaitAnswer: wrapper.serverStream(
      async ({ requestId }: GetAnswerRequest, out: FrameWriter<Buffer>, { caller, signal }: Context) => {
        const id = checkedId(requestId);
        const { name } = caller;
        const now = (awaited.get(name) ?? 0) + 1;
        if (now > MAX_AWAITED_PER_NODE) throw full('answers awaited', `node ${name} waits for ${now - 1} answers`);
        awaited.set(name, now);
        try {
          await tellUntilEnded(stored, name, id, out, [signal, draining]);
        } finally {
          const left = (awaited.get(name) ?? 1) - 1;
          if (left > 0) awaited.set(name, left);
          else awaited.delete(name);
        }
      },
    ),
    acknowledgeAnswer: wrapper.unary(
      async ({ requestId }: AcknowledgeAnswerRequest, { caller }: Context): Promise<AcknowledgeAnswerResponse> => {
        await asking.acknowledge(caller.name, checkedId(requestId));
        return {};
      },
    ),
    cancelStoredRequest: wrapper.unary(
      async ({ requestId }: CancelStoredRequestRequest, { caller }: Context): Promise<CancelStoredRequestResponse> => {
        const id = checkedId(requestId);
        await asking.cancel(caller.name, id);
        return { request: toMessage(await asking.get(caller.name, id)) };
      },
    ),
    listStoredRequests: wrapper.unary(
      ({ pageSize, pageToken }: ListStoredRequestsRequest, { caller }: Context): ListStoredRequestsResponse => {
        if (pageSize > MAX_STORED_PAGE) throw fieldError('page_size', `is over ${MAX_STORED_PAGE}`);
        const limit = pageSize || DEFAULT_STORED_PAGE;
        const found = asking.list(caller.name, pageToken && checkedId(pageToken, 'page_token'), limit);
        const last = found.length < limit ? undefined : found.at(-1);
        return { requests: found.map(toMessage), nextPageToken: last?.id ?? '' };
      },
    ),
  };
}

/** Resolves once the end is told, or the first of the signals, that of the call, fires. */
async function tellUntilEnded(
  { asking }: StoredRequests,
  node: string,
  id: string,
  out: FrameWriter<Buffer>,
  [call, draining]: readonly [AbortSignal, AbortSignal],
): Promise<void> {
  let wake: () => void = () => undefined;
  const off = asking.watch(node, id, () => wake());
  const over = (): void => wake();
  for (const signal of [call, draining]) signal.addEventListener('abort', over, { once: true });
  try {
    let told: AskedRow['state'] = 0;
    for (;;) {
      const changed = new Promise<void>(resolve => {
        wake = resolve;
      });
      const view = await asking.get(node, id);
      if (call.aborted) return;
      const { state } = view.row;
      if (state !== told) {
        out.put(withRecord(AwaitAnswerResponse.encode({ request: toMessage(view), record: undefined }).finish(), view));
        told = state;
      }
      if (state !== STATE.waiting) return;
      if (draining.aborted) throw draining.reason;
      await changed;
    }
  } finally {
    off();
    for (const signal of [call, draining]) signal.removeEventListener('abort', over);
  }
}

/** The reply stands behind the rest, as it was given: nobody between the two ends decodes it. */
const withRecord = (head: Uint8Array, { row }: AskedView): Buffer => {
  const outcome = row.answer?.outcome;
  return Buffer.concat(outcome?.$case === 'records' ? [head, outcome.value] : [head]);
};

function toMessage({ id, row }: AskedView): StoredRequest {
  const { org, channel, state, createTimeMs, expireTimeMs, endTimeMs, answer } = row;
  const outcome = answer?.outcome;
  return {
    ...{ requestId: id, address: `pubsub://${org}/${channel}`, state, createTimeMs, expireTimeMs, endTimeMs },
    node: answer?.node ?? '',
    attempts: answer?.attempts ?? 0,
    error: outcome?.$case === 'error' ? outcome.value : undefined,
    failure: outcome?.$case === 'failure' ? outcome.value : undefined,
  };
}

/** Throws FIELD_INVALID. */
function checkedId(text: string, field = 'request_id'): string {
  if (!/^[0-9a-f]{32}$/.test(text)) throw fieldError(field, 'must be 32 hexadecimal digits');
  return text;
}
