import {
  createECDH,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { approvalKeyId, readApprovalKey, verifyWithApprovalKey } from '../../src/identity/approval-key.js';

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
const edwards = (point: Buffer): Buffer => Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), point]);
const p256 = (point: Buffer): Buffer =>
  Buffer.concat([Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'), point]);

function refusal(der: Uint8Array): string {
  try {
    readApprovalKey(der);
    return 'none';
  } catch (error) {
    if (error instanceof FedgateError && error.reason === 'APPROVER_KEY_INVALID') return error.message;
    throw error;
  }
}

const pairs = {
  'ecdsa-p256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ed25519: generateKeyPairSync('ed25519'),
} as const;

for (const [algorithm, { privateKey, publicKey }] of Object.entries(pairs)) {
  test(`approval key: ${algorithm} is read, and verifies what it signed and nothing else`, t => {
    const key = readApprovalKey(spkiOf(publicKey));
    t.is(key.algorithm, algorithm as typeof key.algorithm);
    t.is(key.id, approvalKeyId(spkiOf(publicKey)));
    t.regex(key.id, /^[0-9a-f]{64}$/);
    const message = randomBytes(100);
    const signature = sign(algorithm === 'ed25519' ? null : 'sha256', message, privateKey);
    t.true(verifyWithApprovalKey(key, message, signature));
    t.false(verifyWithApprovalKey(key, randomBytes(100), signature));
    for (const junk of [new Uint8Array(), signature.subarray(1), randomBytes(64), randomBytes(10_000)]) {
      t.false(verifyWithApprovalKey(key, message, junk));
    }
  });

  test(`approval key: ${algorithm} with bytes after it, cut or in another tag is refused`, t => {
    const der = spkiOf(publicKey);
    t.regex(refusal(Buffer.concat([der, Buffer.of(0)])), /neither/);
    t.regex(refusal(der.subarray(0, -1)), /neither/);
    t.regex(refusal(Buffer.concat([Buffer.of(0x31), der.subarray(1)])), /neither/);
  });
}

test('approval key: a hundred honest Ed25519 keys are all taken', t => {
  for (let i = 0; i < 100; i++) t.notThrows(() => readApprovalKey(spkiOf(generateKeyPairSync('ed25519').publicKey)));
});

/** All points of small order, least significant byte first, with the sign of x in the highest bit. */
const ORDER_8 = [
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
];
const ff = 'ff'.repeat(30);
const SMALL_ORDER: readonly (readonly [string, string])[] = [
  ['order 1', `01${'00'.repeat(31)}`],
  ['order 2', `ec${ff}7f`],
  ['order 4', '00'.repeat(32)],
  ['order 4, negative', `${'00'.repeat(31)}80`],
  ...ORDER_8.map(hex => ['order 8', hex] as const),
  ...ORDER_8.map(hex => ['order 8, negative', withSign(hex)] as const),
  ['order 1, x = -0', `01${'00'.repeat(30)}80`],
  ['order 2, x = -0', `ec${ff}ff`],
  ['order 4 as y = p', `ed${ff}7f`],
  ['order 4, negative, as y = p', `ed${ff}ff`],
  ['order 1 as y = p + 1', `ee${ff}7f`],
  ['order 1, x = -0, as y = p + 1', `ee${ff}ff`],
];

function withSign(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  bytes[31] = (bytes[31] ?? 0) | 0x80;
  return bytes.toString('hex');
}

for (const [what, hex] of SMALL_ORDER) {
  test(`approval key: the Ed25519 point ${hex.slice(0, 4)}…${hex.slice(-4)} of ${what} is refused`, t => {
    t.regex(refusal(edwards(Buffer.from(hex, 'hex'))), /small order|canonical/);
  });
}

test('approval key: Node itself takes a key of small order, and one signature then holds for every message', t => {
  const identity = Buffer.from(`01${'00'.repeat(31)}`, 'hex');
  const key = createPublicKey({ key: edwards(identity), format: 'der', type: 'spki' });
  const constant = Buffer.concat([identity, Buffer.alloc(32)]);
  // OpenSSL 3.0, as in Node 20, does; later ones do not.
  const takes = process.versions.openssl.startsWith('3.0.');
  if (!takes) t.log(`OpenSSL ${process.versions.openssl} refuses it by itself`);
  for (let i = 0; i < 20; i++) t.is(verify(null, randomBytes(i * 10), key, constant), takes);
  t.regex(refusal(edwards(identity)), /anybody could sign/);
});

test('approval key: other encodings of y above p are refused', t => {
  for (let last = 0xee; last <= 0xff; last++) {
    t.regex(refusal(edwards(Buffer.from(`${last.toString(16)}${ff}7f`, 'hex'))), /canonical/);
  }
});

test('approval key: Ed25519 bytes that are no point of the curve are refused, and Node takes them', t => {
  const bytes = Buffer.alloc(32);
  bytes[0] = 2;
  t.notThrows(() => createPublicKey({ key: edwards(bytes), format: 'der', type: 'spki' }));
  t.regex(refusal(edwards(bytes)), /not on the curve/);
  // Of random bytes about half are no point.
  let refused = 0;
  for (let i = 0; i < 200; i++) if (refusal(edwards(randomBytes(32))) !== 'none') refused++;
  t.true(refused > 50 && refused < 150, String(refused));
});

const others: readonly (readonly [string, () => Buffer])[] = [
  ['RSA of 3072 bits', () => spkiOf(generateKeyPairSync('rsa', { modulusLength: 3072 }).publicKey)],
  ['RSA of 1024 bits', () => spkiOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)],
  ['P-384', () => spkiOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey)],
  ['secp256k1', () => spkiOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey)],
  ['X25519', () => spkiOf(generateKeyPairSync('x25519').publicKey)],
  ['Ed448', () => spkiOf(generateKeyPairSync('ed448').publicKey)],
  ['nothing', () => Buffer.alloc(0)],
  ['junk', () => randomBytes(91)],
  ['PEM instead of DER', () => Buffer.from(pairs.ed25519.publicKey.export({ type: 'spki', format: 'pem' }))],
  ['a private key', () => pairs['ecdsa-p256'].privateKey.export({ type: 'pkcs8', format: 'der' })],
];

for (const [what, make] of others) {
  test(`approval key: ${what} is refused`, t => t.regex(refusal(make()), /neither/));
}

test('approval key: a compressed point of P-256 is refused, although Node takes it', t => {
  const ecdh = createECDH('prime256v1');
  ecdh.generateKeys();
  const point = ecdh.getPublicKey(null, 'compressed');
  const der = Buffer.concat([Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'), point]);
  t.is(createPublicKey({ key: der, format: 'der', type: 'spki' }).asymmetricKeyType, 'ec');
  t.regex(refusal(der), /neither/);
});

test('approval key: P-256 points that are not on the curve, or at infinity, are refused', t => {
  const point = spkiOf(pairs['ecdsa-p256'].publicKey).subarray(26);
  t.is(refusal(p256(point)), 'none');
  const off = Buffer.from(point);
  off[64] = (off[64] ?? 0) ^ 1;
  for (const bad of [
    off,
    Buffer.concat([Buffer.of(4), Buffer.alloc(64)]),
    Buffer.concat([Buffer.of(4), Buffer.alloc(64, 0xff)]),
  ]) {
    t.regex(refusal(p256(bad)), /not accepted/);
  }
});
