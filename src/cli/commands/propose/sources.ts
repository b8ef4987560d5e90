import { basename } from 'node:path';
import { fieldError, quoted } from '../../../errors.js';
import { checkPaths } from '../../file-names.js';
import { type FileToShare, type ListedToShare, type ToShare, toShare } from '../share/sources.js';

/** What is proposed: one file by its digest, or several by a list of theirs. */
export type ToPropose =
  | { readonly kind: 'file'; readonly file: FileToShare }
  | {
      readonly kind: 'package';
      readonly path: string;
      readonly name: string;
      readonly files: readonly ListedToShare[];
    };

/**
 * One file is proposed as it is; a folder, or several files and folders, as a package: each under its own name. Throws FILE_UNUSABLE, and
 * FIELD_INVALID for what cannot be in a package.
 */
export async function toPropose(paths: readonly string[], name: string): Promise<ToPropose> {
  const sources: ToShare[] = [];
  for (const path of paths) sources.push(await toShare(path));
  if (sources.some(({ kind }) => kind === 'stdin')) throw fieldError('file', '- (standard input) cannot be proposed');
  const [first, second] = sources;
  if (first?.kind === 'file' && !second) return { kind: 'file', file: first.file };
  const one = first?.kind === 'directory' && !second ? first : undefined;
  const files = one ? one.files : sources.flatMap(listedIn);
  if (files.length === 0) throw fieldError('file', `${quoted(paths[0] ?? '')} holds no file`);
  checkPaths(files.map(({ listed }) => listed));
  return { kind: 'package', path: one?.path ?? name, name: one?.name ?? name, files };
}

function listedIn(source: ToShare): readonly ListedToShare[] {
  if (source.kind === 'file') return [{ ...source.file, listed: basename(source.file.absolute) }];
  if (source.kind === 'directory')
    return source.files.map(file => ({ ...file, listed: `${source.name}/${file.listed}` }));
  return [];
}
