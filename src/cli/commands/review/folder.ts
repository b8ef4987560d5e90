import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ListedChecksum, parseChecksumList } from '../../../approvals/checksum-list.js';
import { checkPackageFolder } from '../../../approvals/verify/package-folder.js';
import type { CheckedStatement } from '../../../client/approvals/ballot.js';
import { FedgateError } from '../../../errors.js';
import { writeFileAtomically } from '../../../identity/files.js';
import { mismatch } from '../../fetch-checked.js';
import { checkPaths, nameProblem } from '../../file-names.js';
import { digestOfFile, makeFolder } from '../../files-on-disk.js';

/**
 * The folder in which a proposal is reviewed:
 *
 *     statement.json   the bytes that are signed
 *     artifact/NAME    what is approved: the file, or the checksum list of a package
 *     contents/…       the files of a package
 *     changes.diff     what changed since the last approved version
 */
export class ReviewFolder {
  readonly path: string;
  readonly #checked: CheckedStatement;

  constructor(path: string, checked: CheckedStatement) {
    this.path = path;
    this.#checked = checked;
  }

  get artifact(): string {
    const { name } = this.#checked.facts.artifact;
    return join(this.path, 'artifact', nameProblem(name) ? 'artifact' : name);
  }

  get contents(): string {
    return join(this.path, 'contents');
  }

  get changes(): string {
    return join(this.path, 'changes.diff');
  }

  get #statement(): string {
    return join(this.path, 'statement.json');
  }

  /** Makes it, or goes on with one that was made for this statement. Throws FILE_UNUSABLE for a folder of something else, PROPOSAL_FORKED. */
  async open(): Promise<void> {
    await makeFolder(this.path, 0o700);
    const there = await readdir(this.path);
    if (there.length > 0) await this.#checkStatement();
    else await writeFileAtomically(this.#statement, this.#checked.bytes, 0o600);
    await makeFolder(join(this.path, 'artifact'), 0o700);
    if (this.#checked.facts.artifact.kind === 'package') await makeFolder(this.contents, 0o700);
  }

  /**
   * Makes sure that what is there is what would be signed, to the last byte and file. Throws ARTIFACT_MISMATCH, PROPOSAL_FORKED, and FILE_UNUSABLE
   * for a folder that is no review of this proposal.
   */
  async verify(): Promise<void> {
    await this.#checkStatement();
    const { name, size, sha256, kind } = this.#checked.facts.artifact;
    await this.#checkFile(this.artifact, name, sha256, size);
    if (kind === 'package') await this.checkContents();
  }

  /** The files of the package, from its list, which must be there. Throws ARTIFACT_MISMATCH, FILE_UNUSABLE. */
  async list(): Promise<readonly ListedChecksum[]> {
    const { name, size, sha256 } = this.#checked.facts.artifact;
    await this.#checkFile(this.artifact, name, sha256, size);
    const files = parseChecksumList(await readFile(this.artifact));
    checkPaths(files.map(({ path }) => path));
    return files;
  }

  /** Every file of the list, and no other. Throws ARTIFACT_MISMATCH. */
  async checkContents(): Promise<void> {
    const problems = await checkPackageFolder(this.contents, await this.list());
    if (problems.length > 0)
      throw new FedgateError(
        'ARTIFACT_MISMATCH',
        `${this.contents} is not the package of the proposal: ${problems.join('; ')}`,
      );
  }

  async #checkStatement(): Promise<void> {
    const bytes = await readFile(this.#statement).catch(cause => {
      throw new FedgateError('FILE_UNUSABLE', `${this.path}: is there already, and is no folder of a review`, {
        cause,
      });
    });
    if (!bytes.equals(this.#checked.bytes))
      throw new FedgateError(
        'PROPOSAL_FORKED',
        `${this.#statement}: what was reviewed in this folder is another statement than the gateway shows under this id`,
      );
  }

  async #checkFile(path: string, what: string, sha256: string, size?: number): Promise<void> {
    const found = await digestOfFile(path);
    if (!found) throw new FedgateError('ARTIFACT_MISMATCH', `${path}: there is no such file`);
    if (size !== undefined && found.size !== size) throw mismatch(what, `${found.size} bytes, and not ${size}`);
    if (found.sha256 !== sha256) throw mismatch(what, `the SHA-256 ${found.sha256}, and not ${sha256}`);
  }
}
