import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, FedgateError } from '../../errors.js';
import type { ApprovalKey } from '../../identity/approval-key.js';
import type { Signer } from '../types.js';
import type { Pkcs11Key } from './pkcs11-uri.js';
import { type ProgramSettings, runProgram } from './run-program.js';
import { verifiedSigner } from './verified.js';

export interface Pkcs11Settings extends Omit<ProgramSettings, 'input' | 'command'> {
  readonly at: Pkcs11Key;
  readonly pin: string;
}

/** The variable in which pkcs11-tool finds the PIN: not an argument, which other users of the machine could read. */
const PIN_VARIABLE = 'FEDGATE_PKCS11_PIN';

/**
 * A signer with a key in a PKCS#11 token, through `pkcs11-tool` of OpenSC, which must be on the PATH.
 *
 * For ECDSA the digest is made here: every token can sign one, and few can make one. Ed25519 has no digest, and what pkcs11-tool (0.23) signs at
 * once ends at 1,024 bytes: with it, P-256 is the kind to use.
 */
export const pkcs11Signer = (key: ApprovalKey, settings: Pkcs11Settings): Signer =>
  verifiedSigner(key, 'pkcs11-tool', async message => {
    const ed25519 = key.algorithm === 'ed25519';
    const content = ed25519 ? message : createHash('sha256').update(message).digest();
    return [await signWithTool(content, ed25519 ? ['EDDSA'] : ['ECDSA', '--signature-format', 'openssl'], settings)];
  });

/** Through files, as pkcs11-tool does not read everything from a pipe. They hold nothing secret. */
async function signWithTool(
  content: Buffer,
  mechanism: readonly string[],
  { at, pin, variables, ...settings }: Pkcs11Settings,
): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-sign-'));
  const [input, output] = [join(folder, 'message'), join(folder, 'signature')];
  const command = [
    'pkcs11-tool',
    ...['--module', at.module, '--pin', `env:${PIN_VARIABLE}`],
    ...(at.token === undefined ? [] : ['--token-label', at.token]),
    ...['--id', at.id],
    ...['--sign', '--input-file', input, '--output-file', output, '--mechanism', ...mechanism],
  ];
  try {
    await writeFile(input, content, { mode: 0o600 });
    await runProgram({
      ...settings,
      command,
      input: Buffer.alloc(0),
      variables: { ...variables, [PIN_VARIABLE]: pin },
    });
    return await readFile(output);
  } catch (cause) {
    if (cause instanceof FedgateError) throw cause;
    throw new FedgateError('SIGNER_FAILED', `pkcs11-tool: no signature: ${describe(cause)}`, { cause });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
