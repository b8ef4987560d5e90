import type { ApprovalKey } from '../../identity/approval-key.js';
import type { Signer } from '../types.js';
import { type ProgramSettings, runProgram } from './run-program.js';
import { verifiedSigner } from './verified.js';

export type CommandSettings = Omit<ProgramSettings, 'input'>;

/**
 * A signer that is a program: it gets the bytes to be signed on standard input and writes the signature to standard output, as it is or in base64.
 * ECDSA: DER, over the SHA-256 of the bytes. Ed25519: 64 bytes, over the bytes themselves.
 */
export const commandSigner = (key: ApprovalKey, settings: CommandSettings): Signer =>
  verifiedSigner(key, settings.command[0] ?? '', async message =>
    readings(await runProgram({ ...settings, input: message })),
  );

/** A signature may happen to look like base64, so both are tried. */
function readings(output: Buffer): Buffer[] {
  const text = output
    .toString('latin1')
    .replace(/[\r\n]/g, '')
    .trim();
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(text);
  return isBase64 ? [output, Buffer.from(text, 'base64')] : [output];
}
