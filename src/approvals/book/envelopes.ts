import { Envelope as EnvelopeMessage } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import type { Envelope } from '../types.js';

/** Envelopes as the log, the rows and the other gateways have them. */

export const toEnvelope = ({ payloadType, payload, signatures }: EnvelopeMessage): Envelope => ({
  payloadType,
  payload: Buffer.from(payload),
  signatures: signatures.map(({ keyId, signature }) => ({ keyId, signature: Buffer.from(signature) })),
});

/** The one form in which a vote is kept and sent on: with the id of the key that verified it, whatever the hint was. */
export const normalised = (envelope: Envelope, keyId: string): Envelope => ({
  payloadType: envelope.payloadType,
  payload: envelope.payload,
  signatures: envelope.signatures.map(({ signature }) => ({ keyId, signature })),
});

export const envelopeBytes = (envelope: Envelope): Buffer => Buffer.from(EnvelopeMessage.encode(envelope).finish());
