import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { commandSigner } from '../../../src/approvals/signers/command.js';
import { MAX_OUTPUT_BYTES } from '../../../src/approvals/signers/run-program.js';
import { splitCommand } from '../../../src/approvals/signers/split-command.js';
import type { Signer } from '../../../src/approvals/types.js';
import { FedgateError } from '../../../src/errors.js';
import { approvalKeyOf } from '../../../src/identity/approval-key.js';
import { refused } from '../../support/reasons.js';
import { type TestScope, temporaryFolder } from '../../support/registry.js';

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const MESSAGE = Buffer.from('DSSEv1 28 application/vnd.in-toto+json 9 {"a":"é"}');

interface Extra {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly onStderr?: (chunk: Buffer) => void;
}

/** Signs by P-256 unless told otherwise. */
const signerOf = (command: readonly string[], extra: Extra = {}, pair: typeof ec | typeof ed = ec): Signer =>
  commandSigner(approvalKeyOf(pair.publicKey), { command, variables: process.env, timeoutMs: 30_000, ...extra });

/** A program in JavaScript, with the message in `input`. */
const script = (body: string): string[] => [
  process.execPath,
  '-e',
  `const input = require('node:fs').readFileSync(0); ${body}`,
];

async function keyFile(t: TestScope, pair: typeof ec | typeof ed): Promise<string> {
  const path = join(await temporaryFolder(t), 'k.pem');
  await writeFile(path, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  return path;
}

test('signer command: openssl signs what it gets on standard input', async t => {
  const signature = await signerOf(['openssl', 'dgst', '-sha256', '-sign', await keyFile(t, ec)]).sign(MESSAGE);
  t.true(verify('sha256', MESSAGE, ec.publicKey, signature));
});

test('signer command: base64, with line ends, is taken too', async t => {
  const shell = `openssl dgst -sha256 -sign "$1" | openssl base64`;
  const signature = await signerOf(['sh', '-c', shell, 'sh', await keyFile(t, ec)]).sign(MESSAGE);
  t.true(verify('sha256', MESSAGE, ec.publicKey, signature));
});

test('signer command: openssl signs with Ed25519', async t => {
  const folder = await temporaryFolder(t);
  const program = join(folder, 'sign.sh');
  const message = join(folder, 'message');
  // It wants a file of known length for Ed25519.
  await writeFile(
    program,
    `#!/bin/sh\ncat > "${message}" && openssl pkeyutl -sign -rawin -inkey "$1" -in "${message}"\n`,
  );
  await chmod(program, 0o700);
  const signature = await signerOf([program, await keyFile(t, ed)], {}, ed).sign(MESSAGE);
  t.true(verify(null, MESSAGE, ed.publicKey, signature));
});

test('signer command: a signature by another key, over something else, or none, is refused', async t => {
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const wrong = [
    sign('sha256', MESSAGE, stranger.privateKey),
    sign('sha256', Buffer.concat([MESSAGE, Buffer.from(' ')]), ec.privateKey),
    sign('sha256', MESSAGE, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }),
    Buffer.alloc(0),
    Buffer.from('ok'),
  ];
  for (const signature of wrong) {
    for (const encoding of ['hex', 'base64'] as const) {
      const body = `process.stdout.write(Buffer.from('${signature.toString('base64')}', 'base64')${encoding === 'hex' ? '' : ".toString('base64')"})`;
      const error = await refused(t, 'SIGNER_FAILED', () => signerOf(script(body)).sign(MESSAGE));
      t.regex(error.message, /no signature by the key [0-9a-f]{64}/);
    }
  }
});

test('signer command: what it says on standard error is told when it fails, safe to show', async t => {
  const error = await refused(t, 'SIGNER_FAILED', () =>
    signerOf(script(`process.stderr.write('no token\\n\\u001b[31min the slot'); process.exit(3)`)).sign(MESSAGE),
  );
  t.regex(error.message, /ended with 3; it said: no token \\u001b\[31min the slot$/);
  const killed = await refused(t, 'SIGNER_FAILED', () =>
    signerOf(script(`process.kill(process.pid, 'SIGTERM')`)).sign(MESSAGE),
  );
  t.regex(killed.message, /ended by SIGTERM/);
});

test('signer command: a valid signature with a bad end does not count', async t => {
  const signature = sign('sha256', MESSAGE, ec.privateKey).toString('base64');
  const body = `process.stdout.write('${signature}', () => process.exit(1))`;
  await refused(t, 'SIGNER_FAILED', () => signerOf(script(body)).sign(MESSAGE));
});

test('signer command: one that floods, hangs, or is not there, is ended and told', async t => {
  const flood = `setInterval(() => process.stdout.write('x'.repeat(${MAX_OUTPUT_BYTES})), 1)`;
  t.regex(
    (await refused(t, 'SIGNER_FAILED', () => signerOf(script(flood)).sign(MESSAGE))).message,
    /more than 16384 bytes/,
  );
  const hang = script('setInterval(() => undefined, 1000)');
  t.regex(
    (await refused(t, 'SIGNER_FAILED', () => signerOf(hang, { timeoutMs: 300 }).sign(MESSAGE))).message,
    /not done after 0.3 s/,
  );
  t.regex(
    (await refused(t, 'SIGNER_FAILED', () => signerOf(['/no/such/program']).sign(MESSAGE))).message,
    /cannot be run.*ENOENT/,
  );
});

test('signer command: it is ended when the caller gives up', async t => {
  const stop = new AbortController();
  const started = (chunk: Buffer): void => {
    if (chunk.includes('waiting')) stop.abort();
  };
  const body = `process.stderr.write('waiting'); setInterval(() => undefined, 1000)`;
  const signer = signerOf(script(body), { signal: stop.signal, onStderr: started });
  await refused(t, 'CANCELLED', () => signer.sign(MESSAGE));
  await refused(t, 'CANCELLED', () => signer.sign(MESSAGE));
});

test('signer command: one that does not read a large message fails by what it answers', async t => {
  const signer = signerOf([process.execPath, '-e', 'process.stdin.destroy(); console.log("done")']);
  const error = await refused(t, 'SIGNER_FAILED', () => signer.sign(Buffer.alloc(4_000_000)));
  t.regex(error.message, /no signature by the key/);
});

const splits: readonly (readonly [string, readonly string[] | RegExp])[] = [
  ['sign', ['sign']],
  ['  sign   --key\tk  ', ['sign', '--key', 'k']],
  [`sign 'a b' "c d"`, ['sign', 'a b', 'c d']],
  [`sign a'b c'd ''`, ['sign', 'ab cd', '']],
  [`sign a\\ b 'c\\d' "e\\"f"`, ['sign', 'a b', 'c\\d', 'e"f']],
  ['sign $HOME `id` $(id) ; rm * | x > y', ['sign', '$HOME', '`id`', '$(id)', ';', 'rm', '*', '|', 'x', '>', 'y']],
  ['', /names no program/],
  ['   ', /names no program/],
  [`'' a`, /names no program/],
  [`sign 'a`, /not closed/],
  [`sign "a`, /not closed/],
  ['sign a\\', /ends with a backslash/],
];

for (const [text, expected] of splits) {
  test(`signer command: ${JSON.stringify(text)} is split, and nothing in it means anything else`, t => {
    if (expected instanceof RegExp) {
      const error = t.throws(() => splitCommand(text, '--signer-command'), { instanceOf: FedgateError });
      t.regex(error?.message ?? '', expected);
    } else t.deepEqual(splitCommand(text, '--signer-command'), expected);
  });
}
