const STANDARD = /^[A-Za-z0-9+/]*={0,2}$/;
const URL_SAFE = /^[A-Za-z0-9_-]*={0,2}$/;

/**
 * Reads base64 in the standard or the URL-safe alphabet (never both in one text), with all of its padding or with none. Undefined for anything
 * else: Node's own reader skips what it does not know, and bits that say nothing.
 */
export function decodeBase64(text: string): Buffer | undefined {
  if (!STANDARD.test(text) && !URL_SAFE.test(text)) return undefined;
  const digits = text.replace(/=+$/, '');
  if (digits.length % 4 === 1 || (digits.length < text.length && text.length % 4 !== 0)) return undefined;
  const bytes = Buffer.from(digits, 'base64');
  const again = bytes.toString('base64url');
  return again === digits.replaceAll('+', '-').replaceAll('/', '_') ? bytes : undefined;
}
