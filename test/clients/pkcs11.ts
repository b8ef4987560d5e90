import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pkcs11Signer } from '../../src/approvals/signers/pkcs11.js';
import { parsePkcs11Uri } from '../../src/approvals/signers/pkcs11-uri.js';
import { readPublicKeyFile } from '../../src/approvals/signers/public-key-file.js';
import type { Signer } from '../../src/approvals/types.js';
import { FedgateError } from '../../src/errors.js';
import { Shell } from '../support/shell.js';
import { passed, say } from './tap.js';

/** Where distributions put the library of SoftHSM. */
const LIBRARIES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
];

const PIN = '471100';
const MESSAGE = Buffer.from('DSSEv1 28 application/vnd.in-toto+json 2 {}');

/** Signs in a software token with pkcs11-tool; the result is the exit code. Not installed: a failure in CI and a stated reason elsewhere. */
export async function runPkcs11(): Promise<number> {
  const module = LIBRARIES.find(existsSync);
  const missing = [
    ...(module === undefined || !(await isOnPath('softhsm2-util')) ? ['softhsm2'] : []),
    ...((await isOnPath('pkcs11-tool')) ? [] : ['pkcs11-tool (opensc)']),
  ];
  if (module === undefined || missing.length > 0) {
    say(`# test:clients: PKCS#11 not run: ${missing.join(' and ')} not installed`);
    return process.env.CI ? 1 : 0;
  }
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-softhsm-'));
  try {
    const token = await makeToken(folder, module);
    await checkSignature(token, 'EC:prime256v1', '01', 'alice', 60_000);
    await checkSignature(token, 'EC:edwards25519', '02', 'edda', 500);
    await checkRefusals(token);
    return 0;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Not by starting it: pkcs11-tool ends with 1 whatever it is asked about itself. */
const isOnPath = (command: string): Promise<boolean> =>
  new Shell('sh', ['-c', 'command -v "$1"', 'sh', command], {}).finished().then(
    () => true,
    () => false,
  );

interface Token {
  readonly folder: string;
  readonly module: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  tool(...args: readonly string[]): Promise<string>;
}

async function makeToken(folder: string, module: string): Promise<Token> {
  const config = join(folder, 'softhsm2.conf');
  await mkdir(join(folder, 'tokens'));
  await writeFile(config, `directories.tokendir = ${join(folder, 'tokens')}\nobjectstore.backend = file\n`);
  const variables = { SOFTHSM2_CONF: config };
  const init = ['--init-token', '--free', '--label', 'My Token', '--so-pin', '0000', '--pin', PIN];
  await new Shell('softhsm2-util', init, variables).finished();
  const tool = (...args: readonly string[]): Promise<string> =>
    new Shell('pkcs11-tool', ['--module', module, '--token-label', 'My Token', '--pin', 'env:PIN', ...args], {
      ...variables,
      PIN,
    }).finished();
  return { folder, module, variables: { ...process.env, ...variables }, tool };
}

/** As docs/operations.md says: the key is made in the token, and its public part read out of it. */
async function makeKey({ folder, tool }: Token, type: string, id: string, label: string): Promise<string> {
  const file = join(folder, `${label}.pub`);
  await tool('--keypairgen', '--key-type', type, '--id', id, '--label', label);
  await tool('--read-object', '--type', 'pubkey', '--id', id, '--output-file', file);
  return file;
}

async function signerOf(token: Token, id: string, publicKey: string, pin = PIN): Promise<Signer> {
  const at = parsePkcs11Uri(`pkcs11:token=My%20Token;id=%${id}?module-path=${token.module}`, '--pkcs11');
  const { variables } = token;
  return pkcs11Signer(await readPublicKeyFile(publicKey), { at, pin, variables, timeoutMs: 30_000 });
}

async function checkSignature(token: Token, type: string, id: string, label: string, size: number): Promise<void> {
  const signer = await signerOf(token, id, await makeKey(token, type, id, label));
  const message = Buffer.concat([MESSAGE, Buffer.alloc(size)]);
  const signature = await signer.sign(message);
  assert.ok(verify(signer.key.algorithm === 'ed25519' ? null : 'sha256', message, signer.key.publicKey, signature));
  passed(`a PKCS#11 token signs ${message.length} bytes with ${signer.key.algorithm}`);
}

async function checkRefusals(token: Token): Promise<void> {
  const [alice, edda] = ['alice', 'edda'].map(name => join(token.folder, `${name}.pub`)) as [string, string];

  await makeKey(token, 'EC:prime256v1', '03', 'alice-too');
  const table = [
    ['a wrong PIN', signerOf(token, '01', alice, '999999'), /CKR_PIN_INCORRECT/],
    ['a key that is not there', signerOf(token, '77', alice), /not found/],
    ['another key of the token', signerOf(token, '03', alice), /no signature by the key/],
    ['a key of another kind', signerOf(token, '01', edda), /pkcs11-tool/],
  ] as const;
  for (const [what, signer, pattern] of table) {
    await assert.rejects((await signer).sign(MESSAGE), (error: unknown) => {
      assert.ok(error instanceof FedgateError && error.reason === 'SIGNER_FAILED', String(error));
      assert.match(error.message, pattern);
      assert.ok(!error.message.includes(PIN));
      return true;
    });
    passed(`a PKCS#11 token: ${what} is SIGNER_FAILED`);
  }
}
