import { fieldError, quoted } from '../../errors.js';

/** A key in a PKCS#11 token, as a URI names it (RFC 7512). */
export interface Pkcs11Key {
  /** The library of the token's maker. */
  readonly module: string;
  /** The token's label. Undefined: there is only one. */
  readonly token: string | undefined;
  /** The key's id, hexadecimal. Not its label: pkcs11-tool looks at that for other things, and signs with whatever key it finds. */
  readonly id: string;
}

/**
 * Reads `pkcs11:token=LABEL;id=%01?module-path=FILE`. Throws FIELD_INVALID naming the option, also
 * for a PIN in it: other users of the machine can read arguments.
 */
export function parsePkcs11Uri(uri: string, option: string): Pkcs11Key {
  const wrong = (why: string): Error => fieldError(option, `${why}: pkcs11:token=LABEL;id=%01?module-path=FILE`);
  const match = /^pkcs11:([^?]*)\?(.*)$/.exec(uri);
  if (!match) throw wrong('not a PKCS#11 URI with a module');
  // The URI itself is not in this message, as it may hold the PIN.
  if (/(^pkcs11:|[;?&])pin-(value|source)=/.test(uri)) {
    throw fieldError(option, 'a PIN does not belong here; give --pin-file or --pin-env, or be asked on a terminal');
  }
  const path = attributes(match[1] ?? '', ';', ['token', 'id', 'type'], wrong);
  const query = attributes(match[2] ?? '', '&', ['module-path'], wrong);
  const [module, token, id] = [query.get('module-path'), path.get('token'), path.get('id')];
  if (!module?.toString().startsWith('/')) throw wrong('module-path must be the absolute path of a library');
  if (!id?.length) throw wrong('no id says which key');
  return { module: module.toString(), token: token?.toString(), id: id.toString('hex') };
}

function attributes(
  text: string,
  separator: string,
  known: readonly string[],
  wrong: (why: string) => Error,
): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const pair of text.split(separator).filter(each => each !== '')) {
    const at = pair.indexOf('=');
    const name = pair.slice(0, Math.max(0, at));
    if (!known.includes(name) || found.has(name))
      throw wrong(`${quoted(name || pair)} is not known here, or there twice`);
    found.set(name, percentDecoded(pair.slice(at + 1), wrong));
  }
  return found;
}

/** To bytes, as an id is no text. */
function percentDecoded(text: string, wrong: (why: string) => Error): Buffer {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) throw wrong('a % that no two hexadecimal digits follow');
  const parts = text.split(/(%[0-9A-Fa-f]{2})/);
  return Buffer.concat(
    parts.map(part => (/^%[0-9A-Fa-f]{2}$/.test(part) ? Buffer.from(part.slice(1), 'hex') : Buffer.from(part))),
  );
}
