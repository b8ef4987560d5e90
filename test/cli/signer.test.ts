import { generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import test from 'ava';
import { Command } from 'commander';
import type { Signer } from '../../src/approvals/types.js';
import type { CliEnv } from '../../src/cli/env.js';
import { openSigner, type SignerOptions, withSignerOptions } from '../../src/cli/signer.js';
import { refused } from '../support/reasons.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const MESSAGE = Buffer.from('DSSEv1 4 text 5 hello');

interface World {
  readonly stdin?: Readable;
  readonly terminal?: boolean;
  readonly variables?: Readonly<Record<string, string | undefined>>;
}

function environment({ stdin = Readable.from([]), terminal = false, variables = process.env }: World): {
  env: CliEnv;
  said: () => string;
} {
  let said = '';
  const stderr = new Writable({
    write(chunk: Buffer, _encoding, done) {
      said += chunk;
      done();
    },
  });
  const env = {
    stdin: Object.assign(stdin, { isTTY: terminal }),
    stdout: stderr,
    stderr,
    terminal,
    variables,
    signal: new AbortController().signal,
    exitCode: 0,
  };
  return { env, said: () => said };
}

/** What a command with these arguments would sign with. */
async function open(args: readonly string[], world: World = {}): Promise<Signer> {
  const command = withSignerOptions(new Command('approve')).exitOverride();
  command.parse([...args], { from: 'user' });
  return openSigner(environment(world).env, command.opts<SignerOptions>());
}

const pem = (key: KeyObject, passphrase?: string): string =>
  key.export({ type: 'pkcs8', format: 'pem', ...(passphrase ? { cipher: 'aes-256-cbc', passphrase } : {}) }).toString();

interface Files {
  readonly key: string;
  readonly encrypted: string;
  readonly publicKey: string;
  readonly secret: string;
}

async function files(t: TestScope): Promise<Files> {
  const folder = await temporaryFolder(t);
  const write = async (name: string, content: string): Promise<string> => {
    await writeFile(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  return {
    key: await write('k.pem', pem(privateKey)),
    encrypted: await write('e.pem', pem(privateKey, 'open sesame')),
    publicKey: await write('k.pub', publicKey.export({ type: 'spki', format: 'pem' }).toString()),
    secret: await write('secret', 'open sesame\n'),
  };
}

const signs = async (signer: Signer): Promise<boolean> =>
  verify('sha256', MESSAGE, publicKey, await signer.sign(MESSAGE));

test('signer options: a key file, an encrypted one with its passphrase in a file, and a command', async t => {
  const { key, encrypted, publicKey: pub, secret } = await files(t);
  t.true(await signs(await open(['--key', key])));
  t.true(await signs(await open(['--key', encrypted, '--passphrase-file', secret])));
  const command = `openssl dgst -sha256 -sign '${key}'`;
  t.true(await signs(await open(['--signer-command', command, '--public-key', pub])));
});

test('signer options: the passphrase is asked for on a terminal, and not shown', async t => {
  const { encrypted } = await files(t);
  const stdin = new PassThrough();
  const { env, said } = environment({ stdin, terminal: true });
  const opening = openSigner(env, { key: encrypted, signerTimeout: '60s' });
  stdin.write('open sesame\n');
  t.true(await signs(await opening));
  t.is(said(), `passphrase of ${encrypted}: \n`);
});

test('signer options: asking ends with the end of the input and with Ctrl-C', async t => {
  const { encrypted } = await files(t);
  for (const give of [(stdin: PassThrough) => stdin.end(), (stdin: PassThrough) => stdin.write('\u0003')]) {
    const stdin = new PassThrough();
    const opening = openSigner(environment({ stdin, terminal: true }).env, { key: encrypted, signerTimeout: '60s' });
    give(stdin);
    await refused(t, 'CANCELLED', () => opening);
  }
});

test('signer options: what is missing or too much is told', async t => {
  const { key, encrypted, publicKey: pub, secret } = await files(t);
  const uri = 'pkcs11:token=T;id=%01?module-path=/lib/x.so';
  const table: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /^--key: give one of --key, --signer-command and --pkcs11/],
    [['--key', key, '--signer-command', 'x'], /give one of/],
    [['--key', key, '--public-key', pub], /a key file needs none/],
    [['--key', encrypted], /^--passphrase-file: needed where nobody can be asked/],
    [['--signer-command', 'x'], /^--public-key: needed/],
    [['--signer-command', '"x', '--public-key', pub], /not closed/],
    [['--signer-command', 'x', '--public-key', pub, '--signer-timeout', 'soon'], /--signer-timeout/],
    [['--pkcs11', 'x', '--public-key', pub], /not a PKCS#11 URI/],
    [['--pkcs11', uri], /^--public-key: needed/],
    [['--pkcs11', uri, '--public-key', pub], /^--pin-file or --pin-env: needed/],
    [['--pkcs11', uri, '--public-key', pub, '--pin-env', 'NO_SUCH_PIN'], /"NO_SUCH_PIN" is not set/],
    [['--pkcs11', uri, '--public-key', pub, '--pin-env', 'A', '--pin-file', secret], /give this or --pin-env/],
  ];
  for (const [args, pattern] of table) {
    const error = await refused(t, 'FIELD_INVALID', () => open(args));
    t.regex(error.message, pattern);
  }
});

test('signer options: secrets that others can read, or that are empty, are refused', async t => {
  const { encrypted, secret } = await files(t);
  await chmod(secret, 0o644);
  await refused(t, 'KEY_EXPOSED', () => open(['--key', encrypted, '--passphrase-file', secret]));
  await chmod(secret, 0o600);
  await writeFile(secret, '\nsecond line');
  await refused(t, 'FILE_UNUSABLE', () => open(['--key', encrypted, '--passphrase-file', secret]));
});

test('signer options: a PIN is never an argument of the program', async t => {
  const { publicKey: pub } = await files(t);
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'pkcs11-tool'), '#!/bin/sh\necho "args: $* pin: $FEDGATE_PKCS11_PIN" >&2\nexit 1\n', {
    mode: 0o700,
  });
  const pinFile = join(folder, 'pin');
  await writeFile(pinFile, '471100\n', { mode: 0o600 });
  const variables = { ...process.env, PATH: `${folder}:${process.env.PATH}`, TOKEN_PIN: '471100' };
  const uri = 'pkcs11:token=T;id=%01?module-path=/lib/x.so';
  for (const pin of [
    ['--pin-file', pinFile],
    ['--pin-env', 'TOKEN_PIN'],
  ]) {
    const signer = await open(['--pkcs11', uri, '--public-key', pub, ...pin], { variables });
    const error = await refused(t, 'SIGNER_FAILED', () => signer.sign(MESSAGE));
    t.regex(error.message, /args: .*--pin env:FEDGATE_PKCS11_PIN --token-label T --id 01 .* pin: 471100/);
    t.is(error.message.match(/471100/g)?.length, 1);
  }
});
