import { fieldError } from '../errors.js';
import type { TrustedAuthority } from '../evidence/authorities.js';
import { readText } from '../identity/files.js';
import { isOrgName } from '../identity/names.js';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** The certificates of `FILE` or `ORG=FILE`. Throws FILE_UNUSABLE, or FIELD_INVALID for a file without a certificate. */
export async function readAuthorities(text: string): Promise<TrustedAuthority[]> {
  const [, name = '', named = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  const org = isOrgName(name) ? name : undefined;
  const path = org ? named : text;
  const certificates = (await readText(path, 'CA certificate')).match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw fieldError('--ca', `${path} holds no certificate in PEM form`);
  return certificates.map(certificate => ({ org, certificate }));
}
