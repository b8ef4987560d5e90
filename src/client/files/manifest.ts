import type { Manifest as ManifestMessage } from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../../errors.js';
import { manifestDigest, manifestFromProto } from '../../files/manifest.js';
import type { Manifest } from '../../files/types.js';
import type { SharedFile } from './types.js';

/** A manifest that is bound to the digest that the share names, and with it every piece. Throws MANIFEST_INVALID. */
export function checkedManifest(message: ManifestMessage | undefined, share: SharedFile): Manifest {
  const manifest = manifestFromProto(message);
  const { size, sha256 } = manifest;
  if (size !== share.size) throw invalid(`it has ${size} bytes, and the share ${share.size}`);
  if (sha256.toString('hex') !== share.sha256) throw invalid('its content has another digest');
  if (manifestDigest(manifest).toString('hex') !== share.manifestSha256) throw invalid('it has another digest');
  return manifest;
}

const invalid = (what: string): FedgateError =>
  new FedgateError('MANIFEST_INVALID', `the manifest is not that of the share: ${what}`);
