import { createPrivateKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { keyFileSigner } from '../../../src/approvals/signers/key-file.js';
import { readPublicKeyFile } from '../../../src/approvals/signers/public-key-file.js';
import { approvalKeyId } from '../../../src/identity/approval-key.js';
import { refused } from '../../support/reasons.js';
import { type TestScope, temporaryFolder } from '../../support/registry.js';

const pairs = {
  'P-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  Ed25519: generateKeyPairSync('ed25519'),
};
const nobody = (): Promise<string> => Promise.reject(new Error('asked for a passphrase'));
const pkcs8 = (key: KeyObject, passphrase?: string): string | Buffer =>
  key.export({ type: 'pkcs8', format: 'pem', ...(passphrase ? { cipher: 'aes-256-cbc', passphrase } : {}) });

async function file(t: TestScope, content: string | Buffer, mode = 0o600): Promise<string> {
  const path = join(await temporaryFolder(t), 'approval.key');
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

for (const [kind, { privateKey, publicKey }] of Object.entries(pairs)) {
  for (const passphrase of [undefined, 'correct horse']) {
    test(`key file: signs with ${kind}${passphrase ? ' that is encrypted' : ''}`, async t => {
      const ask = passphrase ? () => Promise.resolve(passphrase) : nobody;
      const signer = await keyFileSigner(await file(t, pkcs8(privateKey, passphrase)), ask);
      t.is(signer.key.id, approvalKeyId(publicKey.export({ type: 'spki', format: 'der' })));
      const message = Buffer.from('DSSEv1 4 text 5 hello');
      const signature = await signer.sign(message);
      t.true(verify(kind === 'Ed25519' ? null : 'sha256', message, publicKey, signature));
    });
  }
}

test('key file: one that others can read is refused', async t => {
  for (const mode of [0o640, 0o604, 0o644, 0o620]) {
    const path = await file(t, pkcs8(pairs.Ed25519.privateKey), mode);
    const error = await refused(t, 'KEY_EXPOSED', () => keyFileSigner(path, nobody));
    t.regex(error.message, /chmod 600/);
  }
});

test('key file: a wrong passphrase is told, and quotes nothing of either', async t => {
  const path = await file(t, pkcs8(pairs['P-256'].privateKey, 'right'));
  const error = await refused(t, 'SIGNER_FAILED', () => keyFileSigner(path, async () => 'wrong-one'));
  t.regex(error.message, /wrong passphrase/);
  t.notRegex(error.message, /wrong-one|right/);
});

test('key file: what is no private key, or one of another kind, is refused', async t => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
  const k256 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey;
  for (const key of [rsa, p384, k256]) {
    const path = await file(t, pkcs8(key));
    await refused(t, 'APPROVER_KEY_INVALID', () => keyFileSigner(path, nobody));
  }
  const publicPem = pairs.Ed25519.publicKey.export({ type: 'spki', format: 'pem' });
  for (const content of ['', 'hello', publicPem]) {
    const path = await file(t, content);
    await refused(t, 'FILE_UNUSABLE', () => keyFileSigner(path, nobody));
  }
  const folder = await temporaryFolder(t);
  await refused(t, 'FILE_UNUSABLE', () => keyFileSigner(join(folder, 'none'), nobody));
});

test('public key file: PEM and DER are read; private keys, certificates and junk are not', async t => {
  const { publicKey, privateKey } = pairs['P-256'];
  const der = publicKey.export({ type: 'spki', format: 'der' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  for (const content of [der, pem, `\n${pem}\n`]) {
    t.is((await readPublicKeyFile(await file(t, content))).id, approvalKeyId(der));
  }
  const derOfPrivate = createPrivateKey(pkcs8(privateKey)).export({ type: 'pkcs8', format: 'der' });
  for (const content of [
    pkcs8(privateKey),
    `${pem}hello`,
    `${pem}${pem}`,
    pem.slice(0, 60),
    Buffer.alloc(20_000, pem),
  ]) {
    const path = await file(t, content);
    await refused(t, 'FILE_UNUSABLE', () => readPublicKeyFile(path));
  }
  for (const content of [derOfPrivate, Buffer.concat([der, Buffer.of(0)]), Buffer.alloc(0), 'hello']) {
    const path = await file(t, content);
    await refused(t, 'APPROVER_KEY_INVALID', () => readPublicKeyFile(path));
  }
});
