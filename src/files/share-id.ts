import { fieldError, quoted } from '../errors.js';
import { isOrgName, type OrgName } from '../identity/names.js';

/** What a share id says: whose share it is, and its 16 random bytes. */
export interface ShareRef {
  readonly org: OrgName;
  readonly id: Buffer;
}

/** Exactly one text for each share: no other case, no escapes, nothing behind it. */
const SHARE_ID = /^share:\/\/([^/]+)\/([0-9a-f]{32})$/;

/** Throws FIELD_INVALID naming `field`. */
export function parseShareId(text: string, field: string): ShareRef {
  const [whole = '', org = '', id = ''] = SHARE_ID.exec(text) ?? [];
  if (whole === text && isOrgName(org)) return { org, id: Buffer.from(id, 'hex') };
  throw fieldError(field, `${quoted(text)} is not a share id (share://ORG/ and 32 of 0-9 a-f)`);
}

export const formatShareId = ({ org, id }: ShareRef): string => `share://${org}/${id.toString('hex')}`;
