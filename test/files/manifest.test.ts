import { createHash } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { Manifest as ManifestMessage } from '../../gen/ts/fedgate/files/v1/file_service.js';
import {
  checkManifest,
  choosePieceSize,
  MAX_CONTENT_BYTES,
  MAX_PIECES,
  manifestDigest,
  manifestFromProto,
  manifestToProto,
  merkleRoot,
  pieceCount,
  pieceDigest,
  pieceLength,
} from '../../src/files/manifest.js';
import type { Manifest } from '../../src/files/types.js';
import { refused } from '../support/reasons.js';

const MIB = 1024 * 1024;
const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

/** RFC 9162, section 2.1.1, word for word. */
function treeHash(leaves: readonly Buffer[]): Buffer {
  const [first] = leaves;
  if (!first) return sha256();
  if (leaves.length === 1) return sha256(LEAF, first);
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256(NODE, treeHash(leaves.slice(0, k)), treeHash(leaves.slice(k)));
}

const digests = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => sha256(Buffer.from(`piece ${i}`)));

function manifestOf(size: number, pieceSize = 4 * MIB, change: Partial<Manifest> = {}): Manifest {
  const pieces = Buffer.concat(digests(Math.ceil(size / pieceSize)));
  return { size, pieceSize, sha256: sha256(Buffer.from('whole')), merkleRoot: merkleRoot(pieces), pieces, ...change };
}

test('merkleRoot: known vectors', t => {
  const leaf = (byte: number): Buffer => Buffer.alloc(32, byte);
  const root = (...bytes: number[]): string => merkleRoot(Buffer.concat(bytes.map(leaf))).toString('hex');
  t.is(root(), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  t.is(root(1), 'dcffe786ded16d283c663846ad0c4ff26558fccde36ca9d30b2ea19eade9fc0e');
  t.is(root(1, 2), '3a066e0f40c6a1981ebfa60d2411625d0517ae22c2fc8c7c1784ff8a75c78565');
  t.is(root(1, 2, 3), 'df896896c799531f1fd1e556cea26a6989ab06853bcbfdd3e4f5097a611f658f');
  t.is(root(1, 2, 3, 4), '3b3c0ce45d11517a54300a196b61497c4165150d72b7782a4548e3984da771b2');
  t.is(root(1, 2, 3, 4, 5), 'c51042bb8b9d81dfc115ef99d0e2cecf1954cfc078d70032d187b46615f01b90');
  t.is(root(1, 2, 3, 4, 5, 6, 7), 'a01b0568e97f4a883e53549ff9e936845853334158de367ad483d981b3142f4a');
  t.is(root(1, 2, 3, 4, 5, 6, 7, 8), '9a577296efeb0d25599dc9f9adae21a2295e78752ba8d55f85fece7528ef1e81');
});

test('merkleRoot: is the tree of the RFC for every number of pieces', t => {
  for (let count = 0; count <= 70; count++) {
    const leaves = digests(count);
    t.true(merkleRoot(Buffer.concat(leaves)).equals(treeHash(leaves)), `${count}`);
  }
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 300 }), pieces => {
      const leaves = pieces.map(piece => Buffer.from(piece));
      return merkleRoot(Buffer.concat(leaves)).equals(treeHash(leaves));
    }),
  );
});

test('merkleRoot: no two lists of pieces have the same', t => {
  const leaves = digests(8);
  const root = (...pieces: readonly Buffer[]): string => merkleRoot(Buffer.concat(pieces)).toString('hex');
  const [a, b, c, d] = leaves as [Buffer, Buffer, Buffer, Buffer];
  const inner = [
    sha256(NODE, sha256(LEAF, a), sha256(LEAF, b)),
    sha256(NODE, sha256(LEAF, c), sha256(LEAF, d)),
  ] as const;
  const roots = [
    root(a, b, c, d),
    // Nodes, or hashed leaves, in the place of leaves: second preimages if leaves and nodes were hashed alike.
    root(...inner),
    root(sha256(LEAF, a), sha256(LEAF, b), sha256(LEAF, c), sha256(LEAF, d)),
    root(merkleRoot(Buffer.concat([a, b, c, d]))),
    root(b, a, c, d),
    root(a, b, d, c),
    root(c, d, a, b),
    root(a, b, c),
    // The last one twice: the same in trees that fill up with copies.
    root(a, b, c, c),
    root(a, b),
    root(a),
    root(),
  ];
  t.is(new Set(roots).size, roots.length);
});

test('merkleRoot: changes with any bit of any piece, and with any swap', t => {
  const anyPieces = fc.uniqueArray(fc.integer({ min: 0, max: 1_000_000 }), { minLength: 2, maxLength: 64 });
  t.notThrows(() =>
    fc.assert(
      fc.property(anyPieces, fc.nat(), fc.nat(), fc.nat(), (seeds, i, j, bit) => {
        const leaves = seeds.map(seed => sha256(Buffer.from(String(seed))));
        const before = merkleRoot(Buffer.concat(leaves));
        const flipped = Buffer.concat(leaves);
        const at = bit % (flipped.length * 8);
        flipped.writeUInt8(flipped.readUInt8(at >> 3) ^ (1 << (at & 7)), at >> 3);
        const [x, y] = [i % leaves.length, j % leaves.length];
        const swapped = leaves.with(x, leaves[y] as Buffer).with(y, leaves[x] as Buffer);
        return !merkleRoot(flipped).equals(before) && (x === y || !merkleRoot(Buffer.concat(swapped)).equals(before));
      }),
    ),
  );
});

test('merkleRoot: does not change what it is given, and takes digests only', t => {
  const pieces = Buffer.concat(digests(5));
  const copy = Buffer.from(pieces);
  merkleRoot(pieces);
  t.true(pieces.equals(copy));
  t.throws(() => merkleRoot(Buffer.alloc(33)), { instanceOf: RangeError });
});

test('choosePieceSize: 4 MiB until the size needs more, at most 16', async t => {
  const table: readonly (readonly [number | undefined, number])[] = [
    [undefined, 4],
    [0, 4],
    [1, 4],
    [MAX_PIECES * 4 * MIB, 4],
    [MAX_PIECES * 4 * MIB + 1, 8],
    [MAX_PIECES * 8 * MIB + 1, 16],
    [MAX_CONTENT_BYTES, 16],
  ];
  for (const [size, mib] of table) t.is(choosePieceSize(size), mib * MIB, String(size));
  await refused(t, 'LIMIT_REACHED', () => choosePieceSize(MAX_CONTENT_BYTES + 1));
});

test('pieces: their lengths make up the size, whatever it is', t => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 200 * MIB }), fc.constantFrom(MIB, 4 * MIB, 16 * MIB), (size, pieceSize) => {
      const shape = { size, pieceSize };
      let sum = 0;
      for (let i = 0; i < pieceCount(shape); i++) {
        const length = pieceLength(shape, i);
        if (length <= 0 || length > pieceSize) return false;
        sum += length;
      }
      return sum === size;
    }),
  );
  t.is(pieceCount({ size: 8 * MIB, pieceSize: 4 * MIB }), 2);
  t.is(pieceLength({ size: 8 * MIB, pieceSize: 4 * MIB }, 1), 4 * MIB);
  for (const index of [-1, 2, 0.5, Number.NaN]) {
    t.throws(() => pieceLength({ size: 8 * MIB, pieceSize: 4 * MIB }, index), { instanceOf: RangeError });
  }
  const manifest = manifestOf(9 * MIB);
  t.true(pieceDigest(manifest, 2).equals(digests(3)[2] as Buffer));
});

test('manifestDigest: is over all that the contract says, and changes with each of it', t => {
  const manifest = manifestOf(9 * MIB);
  const numbers = Buffer.from('0000000000900000' + '00400000', 'hex');
  const expected = sha256(Buffer.from('fedgate/manifest/v1\n'), numbers, manifest.sha256, manifest.merkleRoot);
  t.is(manifestDigest(manifest).toString('hex'), expected.toString('hex'));
  const other = Buffer.alloc(32, 9);
  for (const change of [{ size: 9 * MIB + 1 }, { pieceSize: 8 * MIB }, { sha256: other }, { merkleRoot: other }]) {
    t.false(manifestDigest({ ...manifest, ...change }).equals(manifestDigest(manifest)));
  }
});

test('checkManifest: takes what is right, from nothing to the largest', t => {
  for (const size of [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 12 * MIB]) {
    t.notThrows(() => checkManifest(manifestOf(size)), String(size));
    for (const pieceSize of [MIB, 2 * MIB, 8 * MIB, 16 * MIB])
      t.notThrows(() => checkManifest(manifestOf(size, pieceSize)));
  }
  t.notThrows(() => checkManifest(manifestOf(MAX_CONTENT_BYTES, 16 * MIB)));
});

test('checkManifest: refuses what breaks a rule', async t => {
  const good = manifestOf(9 * MIB);
  const swapped = Buffer.concat([good.pieces.subarray(32, 64), good.pieces.subarray(0, 32), good.pieces.subarray(64)]);
  const inner = sha256(NODE, sha256(LEAF, pieceDigest(good, 0)), sha256(LEAF, pieceDigest(good, 1)));
  const changes: readonly (readonly [string, Partial<Manifest>])[] = [
    ['a negative size', { size: -1 }],
    ['a size that is none', { size: Number.NaN }],
    ['half a byte', { size: 9 * MIB + 0.5 }],
    ['an endless size', { size: Number.POSITIVE_INFINITY }],
    ['a size beyond what is exact', { size: 2 ** 53 }],
    ['a size too small', { size: 8 * MIB }],
    ['a size too large', { size: 12 * MIB + 1 }],
    ['a size for 10^7 pieces', { size: 10 ** 7 * 4 * MIB }],
    ['pieces of a byte', { pieceSize: 1 }],
    ['pieces of nothing', { pieceSize: 0 }],
    ['pieces that are not a power of two', { pieceSize: 3 * MIB }],
    ['pieces too small', { pieceSize: MIB / 2 }],
    ['pieces too large', { pieceSize: 32 * MIB }],
    ['pieces of a negative size', { pieceSize: -4 * MIB }],
    ['a short digest', { sha256: Buffer.alloc(31) }],
    ['a long digest', { sha256: Buffer.alloc(33) }],
    ['no root', { merkleRoot: Buffer.alloc(0) }],
    ['another root', { merkleRoot: Buffer.alloc(32) }],
    ['swapped pieces', { pieces: swapped }],
    ['a piece less', { pieces: good.pieces.subarray(32) }],
    ['half a piece', { pieces: good.pieces.subarray(16) }],
    ['a piece more', { pieces: Buffer.concat([good.pieces, Buffer.alloc(32)]) }],
    ['nodes as pieces', { size: 8 * MIB, pieces: Buffer.concat([inner, pieceDigest(good, 2)]) }],
  ];
  for (const [what, change] of changes) {
    const error = await refused(t, 'MANIFEST_INVALID', () => checkManifest({ ...good, ...change }));
    t.truthy(error.message, what);
  }
});

test('manifests travel unchanged; what is not one is refused before anything is made of it', async t => {
  const good = manifestOf(9 * MIB);
  const bytes = ManifestMessage.encode(manifestToProto(good)).finish();
  t.deepEqual(manifestFromProto(ManifestMessage.decode(bytes)), good);
  await refused(t, 'MANIFEST_INVALID', () => manifestFromProto(undefined));
  await refused(t, 'MANIFEST_INVALID', () => manifestFromProto(ManifestMessage.create()));
  for (const size of [2n ** 63n, 2n ** 64n - 1n, 2n ** 53n, BigInt(MAX_CONTENT_BYTES) + 1n, 8n * 1024n * 1024n]) {
    await refused(t, 'MANIFEST_INVALID', () => manifestFromProto({ ...manifestToProto(good), size }));
  }
  for (const pieceSize of [0, 1, 2 ** 32 - 1]) {
    await refused(t, 'MANIFEST_INVALID', () => manifestFromProto({ ...manifestToProto(good), pieceSize }));
  }
});
