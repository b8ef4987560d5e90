import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, FedgateError } from '../errors.js';
import type { KeyAndCertificate } from './issue.js';

/** Writes a file so that after a crash it is whole or absent: temporary file, sync, rename, sync of the folder. */
export async function writeFileAtomically(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  const handle = await open(temporary, 'w', mode);
  try {
    await handle.chmod(mode);
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(folder, 'r');
    await handle.sync();
  } finally {
    await handle?.close();
  }
}

/** Writes `tls.key` (0600) and `tls.crt` into a folder of mode 0700. */
export async function writeKeyAndCertificate(
  folder: string,
  pair: KeyAndCertificate,
): Promise<{ key: string; certificate: string }> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const paths = { key: join(folder, 'tls.key'), certificate: join(folder, 'tls.crt') };
  await writeFileAtomically(paths.key, pair.key, 0o600);
  await writeFileAtomically(paths.certificate, pair.certificate);
  return paths;
}

/** Reads a private key file. Throws FILE_UNUSABLE, or KEY_EXPOSED when others than its owner can read it. */
export async function readPrivateKey(path: string): Promise<string> {
  const text = await readSecret(path, 'private key');
  try {
    createPrivateKey(text);
  } catch {
    // The parser's message may quote what it read, so it is not passed on.
    throw new FedgateError('FILE_UNUSABLE', `${path}: not a private key in PEM form`);
  }
  return text;
}

/** Reads a text file that only its owner may be able to read. Throws FILE_UNUSABLE naming what it was for, or KEY_EXPOSED. */
export async function readSecret(path: string, what: string): Promise<string> {
  const text = await readText(path, what);
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, '0');
    throw new FedgateError(
      'KEY_EXPOSED',
      `${path}: the ${what} can be read by other users (mode ${octal}); run: chmod 600 ${path}`,
    );
  }
  return text;
}

/** Reads a certificate file. Throws FILE_UNUSABLE. */
export async function readCertificate(path: string): Promise<string> {
  const text = await readText(path, 'certificate');
  try {
    new X509Certificate(text);
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${path}: not a certificate in PEM form`, { cause });
  }
  return text;
}

/** Reads a pair and makes sure that the one belongs to the other. */
export async function readKeyAndCertificate(keyPath: string, certificatePath: string): Promise<KeyAndCertificate> {
  // In this order, not at once: when both are missing, the error is about the same one each time.
  const key = await readPrivateKey(keyPath);
  const certificate = await readCertificate(certificatePath);
  if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
    throw new FedgateError('FILE_UNUSABLE', `${keyPath} is not the key of ${certificatePath}`);
  }
  return { key, certificate };
}

/** Reads a text file that is needed. Throws FILE_UNUSABLE naming it and what it was for. */
export async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why =
      code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'this user may not read it' : describe(cause);
    throw new FedgateError('FILE_UNUSABLE', `${path}: ${what} not readable: ${why}`, { cause });
  }
}
