import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { encodeChecksumList } from '../approvals/checksum-list.js';
import { readPolicy } from '../approvals/verify/policy.js';
import { type Verdict, verifyFile } from '../approvals/verify/verify.js';
import type { SharedFile } from '../client/index.js';
import type { DemoOrg, DemoWorld } from './world.js';

/** The code of the demo: small, but several files. */
const FILES: Readonly<Record<string, string>> = {
  'README.txt': 'Adds up orders.\n',
  'lib/total.js': 'export const total = orders => orders.reduce((sum, order) => sum + order.total, 0);\n',
  'main.js': "import { total } from './lib/total.js';\n\nconsole.log(total([{ total: 9.9 }]));\n",
};

/** Shares of a package: the list of its files, which is what is approved, and the folder to fetch them from. */
export interface SharedPackage {
  readonly list: SharedFile;
  readonly contents: SharedFile;
  readonly files: number;
}

const sha256 = (bytes: string): string => createHash('sha256').update(bytes).digest('hex');

/** ACME's program shares the code with all who are to look at it, as `fedgate propose FOLDER` does. */
export async function sharePackage({ acme }: DemoWorld, name: string): Promise<SharedPackage> {
  const audience = { orgs: ['ACME', 'GLOBEX', 'INITECH'] };
  const share = (bytes: string | Buffer, as: string, mediaType?: string): Promise<SharedFile> =>
    acme.client.share(once(Buffer.from(bytes)), { audience, name: as, mediaType });
  const listed: { path: string; size: number; sha256: string; share: string }[] = [];
  for (const [path, text] of Object.entries(FILES)) {
    const { id, size } = await share(text, path.split('/').at(-1) ?? path);
    listed.push({ path, size, sha256: sha256(text), share: id });
  }
  const listing = JSON.stringify({ version: 1, files: listed });
  return {
    contents: await share(listing, name, 'application/vnd.fedgate.directory+json'),
    list: await share(encodeChecksumList(listed), `${name}.sha256`),
    files: listed.length,
  };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** What a consumer believes: these keys, and that two of their organisations must have signed. Returns its path. */
export async function writePolicy(folder: string, orgs: readonly DemoOrg[]): Promise<string> {
  const path = join(folder, 'policy.yaml');
  const keys = orgs.map(
    ({ name, approver }) =>
      `  - org: ${name}\n    keys: [{ name: alice, key: ${approver.signer.key.spki.toString('base64')} }]`,
  );
  await writeFile(path, `policy: demo\nversion: 1\nthreshold: 2\norgs:\n${keys.join('\n')}\n`);
  return path;
}

/** A package on the disk of who fetched it, beside the list of its files. */
export interface FetchedPackage {
  readonly folder: string;
  readonly list: string;
}

/** INITECH's program fetches list and files. */
export async function fetchPackage(
  { initech, folder: root }: DemoWorld,
  { list, contents }: SharedPackage,
): Promise<FetchedPackage> {
  const folder = join(root, 'widget-at-initech');
  const parts: Buffer[] = [];
  for await (const part of await initech.client.fetchStream(contents.id)) parts.push(part);
  const { files } = JSON.parse(Buffer.concat(parts).toString()) as { files: { path: string; share: string }[] };
  for (const { path, share } of files) {
    // Names of others are used as they are only here, where we made them.
    const to = join(folder, path);
    await mkdir(dirname(to), { recursive: true });
    await initech.client.fetch(share, { to, overwrite: true });
  }
  const fetched = await initech.client.fetch(list.id, { to: `${folder}.sha256`, overwrite: true });
  return { folder, list: fetched.path };
}

/** As `fedgate verify` does: offline, by nothing but the bundle and the policy. */
export async function verifyPackage(
  { folder, list }: FetchedPackage,
  bundle: string,
  policy: string,
): Promise<Verdict> {
  return verifyFile(folder, {
    bundles: [{ name: 'the bundle', content: bundle }],
    policy: await readPolicy(policy),
    memory: undefined,
    nowMs: Date.now(),
    list,
  });
}
