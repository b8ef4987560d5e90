import type { ApplicationError } from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import { fieldError } from '../errors.js';

const CODE = /^[A-Za-z0-9._-]{1,64}$/;
/** It travels in the trailers of a call, of which many clients take 8 KiB in all. */
export const MAX_APPLICATION_MESSAGE_BYTES = 1024;
export const MAX_APPLICATION_DETAILS_BYTES = 2048;

/** Throws FIELD_INVALID. */
export function checkApplicationError(error: ApplicationError | undefined, field: string): ApplicationError {
  if (!error) throw fieldError(field, 'is needed');
  if (!CODE.test(error.code)) throw fieldError(`${field}.code`, 'must be 1 to 64 of A-Z a-z 0-9 . _ -');
  if (Buffer.byteLength(error.message) > MAX_APPLICATION_MESSAGE_BYTES)
    throw fieldError(`${field}.message`, `is longer than ${MAX_APPLICATION_MESSAGE_BYTES} bytes`);
  if (error.details.length > MAX_APPLICATION_DETAILS_BYTES)
    throw fieldError(`${field}.details`, `is longer than ${MAX_APPLICATION_DETAILS_BYTES} bytes`);
  return error;
}
