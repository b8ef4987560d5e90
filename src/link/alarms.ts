import { FedgateError, type Reason } from '../errors.js';

/** What only a peer that lies, or a defect of it, brings about. */
const ALARMING: ReadonlySet<Reason> = new Set<Reason>([
  'SIGNATURE_INVALID',
  'IDENTITY_MISMATCH',
  'FEDERATION_MISMATCH',
  'WRONG_RECIPIENT',
  'REPLAYED',
  'FRAME_MALFORMED',
  'FRAME_UNEXPECTED',
  'RECEIPT_INVALID',
  'WATERMARK_INVALID',
  'CREDIT_EXCEEDED',
  'MANIFEST_INVALID',
]);

/** Whether somebody who looks after the gateway is to hear of what a peer did. */
export const isAlarming = (error: unknown): error is FedgateError =>
  error instanceof FedgateError && ALARMING.has(error.reason);
