import { encodeChecksumList } from '../../../approvals/checksum-list.js';
import type { ProposeOptions } from '../../../client/index.js';
import type { Sharer } from '../share/sharer.js';
import type { ToPropose } from './sources.js';

/** Shares what is proposed with those who are to approve it. */
export async function shareToPropose(
  sharer: Sharer,
  source: ToPropose,
  name: string | undefined,
): Promise<Pick<ProposeOptions, 'artifactShare' | 'contentsShare' | 'artifactName'>> {
  if (source.kind === 'file') {
    const { id } = await sharer.share(source);
    return { artifactShare: id, artifactName: name ?? source.file.name };
  }
  const { share: contents, listed } = await sharer.folder(source);
  const artifactName = name ?? `${source.name}.sha256`;
  const list = encodeChecksumList(listed.map(({ path, sha256 }) => ({ path, sha256 })));
  const { id } = await sharer.bytes(list, artifactName, artifactName, 'text/plain');
  return { artifactShare: id, contentsShare: contents.id, artifactName };
}
