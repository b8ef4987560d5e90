import { type Metadata as GrpcMetadata, Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import { ApplicationError } from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import { BadRequest, ErrorInfo, QuotaFailure, RequestInfo, RetryInfo } from '../../gen/ts/google/rpc/error_details.js';
import { Status } from '../../gen/ts/google/rpc/status.js';
import { type ApplicationErrorFacts, FedgateError, isReason, type Reason, type StatusName } from '../errors.js';

/**
 * How a reason travels: a gRPC status with `google.rpc.Status` in `grpc-status-details-bin` (AIP-193).
 * This is the only place that knows.
 */

const DETAILS_KEY = 'grpc-status-details-bin';
const DOMAIN = 'fedgate';
const PREFIX = 'type.googleapis.com/';
const TYPE = `${PREFIX}google.rpc.`;
const APPLICATION_ERROR = `${PREFIX}fedgate.messaging.v1.ApplicationError`;

/** The `google.rpc.Status` of an error; for answers inside a stream. */
export function toRpcStatus(error: FedgateError, requestId?: string): Status {
  const details: { typeUrl: string; value: Uint8Array }[] = [];
  const add = (name: string, value: Uint8Array): void => void details.push({ typeUrl: TYPE + name, value });
  add(
    'ErrorInfo',
    ErrorInfo.encode({
      reason: error.reason,
      domain: DOMAIN,
      metadata: new Map(Object.entries(error.metadata)),
    }).finish(),
  );
  if (error.fields.length > 0) {
    const fieldViolations = error.fields.map(violation => ({ ...violation, reason: '', localizedMessage: undefined }));
    add('BadRequest', BadRequest.encode(BadRequest.fromPartial({ fieldViolations })).finish());
  }
  if (error.status === 'RESOURCE_EXHAUSTED') {
    const subject = error.metadata.limit ?? error.reason;
    add(
      'QuotaFailure',
      QuotaFailure.encode(QuotaFailure.fromPartial({ violations: [{ subject, description: error.message }] })).finish(),
    );
  }
  if (error.retryAfterMs !== undefined) {
    const retryDelay = {
      seconds: BigInt(Math.floor(error.retryAfterMs / 1000)),
      nanos: Math.floor(error.retryAfterMs % 1000) * 1_000_000,
    };
    add('RetryInfo', RetryInfo.encode({ retryDelay }).finish());
  }
  if (error.application) {
    const { code, message, details: more } = error.application;
    const value = ApplicationError.encode({ code, message, details: more }).finish();
    details.push({ typeUrl: APPLICATION_ERROR, value });
  }
  if (requestId !== undefined) add('RequestInfo', RequestInfo.encode({ requestId, servingData: '' }).finish());
  return { code: status[error.status], message: error.message, details };
}

/** What a grpc-js handler ends a call with. */
export function toGrpcStatus(
  error: FedgateError,
  requestId?: string,
): { code: number; details: string; metadata: GrpcMetadata } {
  const rpc = toRpcStatus(error, requestId);
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(Status.encode(rpc).finish()));
  return { code: rpc.code, details: rpc.message, metadata };
}

const NAMES = new Map(Object.entries(status).map(([name, code]) => [code as number, name]));

/** What a reasonless status of the transport itself is called. CANCELLED by the server is what a shutdown looks like. */
const REASON_OF_STATUS: { readonly [name in StatusName]?: Reason } = {
  UNAVAILABLE: 'GATEWAY_UNREACHABLE',
  CANCELLED: 'CANCELLED',
  DEADLINE_EXCEEDED: 'DEADLINE_EXCEEDED',
  UNAUTHENTICATED: 'CERTIFICATE_UNTRUSTED',
  PERMISSION_DENIED: 'NOT_GRANTED',
  RESOURCE_EXHAUSTED: 'FRAME_TOO_LARGE',
  INVALID_ARGUMENT: 'FRAME_MALFORMED',
  UNIMPLEMENTED: 'FEATURE_UNSUPPORTED',
};

/** The longest wait that is believed, milliseconds. */
const MAX_RETRY_MS = 24 * 3_600_000;

/** Turns a `google.rpc.Status` back into the error it was. Never throws: details that cannot be read are left out. */
export function fromRpcStatus(rpc: Status): FedgateError {
  const name = NAMES.get(rpc.code) as StatusName | undefined;
  let reason: Reason = (name && REASON_OF_STATUS[name]) ?? 'INTERNAL';
  let metadata: Record<string, string> = {};
  let fields: FedgateError['fields'] = [];
  let retryAfterMs: number | undefined;
  let application: ApplicationErrorFacts | undefined;
  const read = ({ typeUrl, value }: Status['details'][number]): void => {
    if (typeUrl === `${TYPE}ErrorInfo`) {
      const info = ErrorInfo.decode(value);
      if (info.domain === DOMAIN && isReason(info.reason)) reason = info.reason;
      metadata = Object.fromEntries(info.metadata);
    } else if (typeUrl === `${TYPE}BadRequest`) {
      fields = BadRequest.decode(value).fieldViolations.map(({ field, description }) => ({ field, description }));
    } else if (typeUrl === APPLICATION_ERROR) {
      application = ApplicationError.decode(value);
    } else if (typeUrl === `${TYPE}RetryInfo`) {
      const delay = RetryInfo.decode(value).retryDelay;
      const waitMs = delay ? Number(delay.seconds) * 1000 + delay.nanos / 1_000_000 : undefined;
      if (waitMs !== undefined) retryAfterMs = Math.min(Math.max(waitMs, 0), MAX_RETRY_MS);
    }
  };
  for (const detail of rpc.details) {
    try {
      read(detail);
    } catch {
      // The status itself still counts.
    }
  }
  return new FedgateError(reason, rpc.message, {
    metadata,
    fields,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(application ? { application } : {}),
  });
}

/** Turns the error a grpc-js call ended with into ours. `unreachable` names what a bare UNAVAILABLE means for this call. */
export function fromGrpcError(error: unknown, unreachable: Reason = 'GATEWAY_UNREACHABLE'): FedgateError {
  if (error instanceof FedgateError) return error;
  const { code, details, metadata } = error as Partial<ServiceError & StatusObject>;
  const packed = metadata?.get(DETAILS_KEY)[0];
  if (Buffer.isBuffer(packed)) {
    try {
      return fromRpcStatus(Status.decode(packed));
    } catch {
      // Details that cannot be read leave the bare status, handled below.
    }
  }
  if (typeof code !== 'number')
    return new FedgateError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
  const name = NAMES.get(code) as StatusName | undefined;
  const reason = name === 'UNAVAILABLE' ? unreachable : ((name && REASON_OF_STATUS[name]) ?? 'INTERNAL');
  return new FedgateError(reason, plain(details) || name || 'unknown error', { cause: error });
}

/** What grpc-js says of a connection that it could not make, without the words around it. */
const plain = (details = ''): string =>
  details.replace(/^(No connection established)\. Last error: (?:Error: )?(.*)\. Resolution note: .*$/s, '$1: $2');
