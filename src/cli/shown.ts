import { escapeControls } from '../text.js';

/** Payloads come from strangers: what would draw on the terminal is escaped. */
export function shownPayload(payload: Uint8Array): string {
  const text = textOf(payload);
  return text === undefined ? `(${payload.length} bytes, binary)` : escapeControls(text);
}

/** For JSON: the payload as text where it is text, and in base64 otherwise. */
export function payloadJson(payload: Uint8Array): { readonly payload: string } | { readonly payloadBase64: string } {
  const text = textOf(payload);
  return text === undefined ? { payloadBase64: Buffer.from(payload).toString('base64') } : { payload: text };
}

/** Undefined: not UTF-8. */
function textOf(payload: Uint8Array): string | undefined {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('utf8');
  return Buffer.from(text).equals(payload) ? text : undefined;
}
