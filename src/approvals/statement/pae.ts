/**
 * What a DSSE signature is made over: the pre-authentication encoding of version 1 (https://github.com/secure-systems-lab/dsse). The type of the
 * payload is part of it, so a signature for one type is none for another, nor for anything else that the key may sign.
 */
export function pae(payloadType: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}
