import { fieldError } from '../errors.js';
import { escapeControls } from '../text.js';

const MAX_NAME_BYTES = 255;
const MAX_MEDIA_TYPE_BYTES = 255;
const DEFAULT_MEDIA_TYPE = 'application/octet-stream';
const LONE_SURROGATE = /\p{Cs}/u;
/** RFC 6838, section 4.2; parameters as printable ASCII. */
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}( ?;[ -~]*)?$/;

/**
 * Names are for people. Whatever is text is kept as it was given, `../x` and `con.txt` too: nobody makes a path of it, content lies under its
 * digest. Throws FIELD_INVALID naming `field`.
 */
export function parseDisplayName(text: string, field: string): string {
  // U+FFFD is what bytes that are no UTF-8 were read as.
  if (LONE_SURROGATE.test(text) || text.includes('\u{fffd}')) throw fieldError(field, 'is not valid UTF-8');
  if (Buffer.byteLength(text) > MAX_NAME_BYTES) throw fieldError(field, `is longer than ${MAX_NAME_BYTES} bytes`);
  return text;
}

/** A name as it may stand in a log line or a message: control, direction and line-separating characters escaped. */
export const shownName = (name: string): string => escapeControls(name).replaceAll('\t', '\\u0009');

/** Throws FIELD_INVALID naming `field`. */
export function parseMediaType(text: string, field: string): string {
  if (text === '') return DEFAULT_MEDIA_TYPE;
  if (text.length <= MAX_MEDIA_TYPE_BYTES && MEDIA_TYPE.test(text)) return text;
  throw fieldError(field, 'is not a media type (RFC 6838), such as text/csv');
}
