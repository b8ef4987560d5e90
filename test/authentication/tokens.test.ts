import { createHmac } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { CompactEncrypt, type CryptoKey, exportSPKI, importJWK, type JWTPayload } from 'jose';
import { bearerToken, MAX_TOKEN_BYTES } from '../../src/authentication/bearer.js';
import type { FetchJson } from '../../src/authentication/fetch-json.js';
import { IssuerKeys } from '../../src/authentication/issuer-keys.js';
import { nodeOfClaim } from '../../src/authentication/node-names.js';
import { TokenVerifier } from '../../src/authentication/token-verifier.js';
import { Tokens } from '../../src/authentication/tokens.js';
import { FedgateError } from '../../src/errors.js';
import { AUDIENCE, makeSigningKey, makeToken, type SigningKey } from '../support/issuer.js';

const ISSUER = 'https://issuer.example';
const COOLDOWN_MS = 30_000;
const LIFETIME_MS = 600_000;
const STALE_MS = 3_600_000;

/** An issuer whose clock and answers are the test's. */
class World {
  nowMs = 1_800_000_000_000;
  keys: SigningKey[];
  down = false;
  fetches = 0;
  readonly issuerKeys: IssuerKeys;
  readonly tokens: Tokens;

  constructor(keys: SigningKey[], naming: { readonly claimPattern?: string; readonly nodePrefix?: string } = {}) {
    this.keys = keys;
    const fetch: FetchJson = async () => {
      this.fetches++;
      if (this.down) throw new FedgateError('AUTHENTICATOR_UNAVAILABLE', 'down');
      return { keys: this.keys.map(({ jwk }) => jwk) };
    };
    const now = (): number => this.nowMs;
    this.issuerKeys = new IssuerKeys({
      issuer: ISSUER,
      jwksUri: `${ISSUER}/keys`,
      lifetimeMs: LIFETIME_MS,
      staleMs: STALE_MS,
      cooldownMs: COOLDOWN_MS,
      now,
      fetch,
      onTrouble: () => undefined,
    });
    const verifier = new TokenVerifier({
      issuer: ISSUER,
      audience: [AUDIENCE],
      algorithms: ['ES256', 'RS256'],
      nodeClaim: 'sub',
      claimPattern: '*',
      nodePrefix: '',
      nodes: {},
      ...naming,
      clockToleranceMs: 5_000,
      maxLifetimeMs: 86_400_000,
      keys: this.issuerKeys,
      now,
    });
    this.tokens = new Tokens([verifier], now);
  }

  token(claims: JWTPayload = {}, key = this.keys[0] as SigningKey, header = {}): Promise<string> {
    return makeToken(key, ISSUER, claims, this.nowMs, header);
  }

  /** `node`, or `REASON why`. */
  async tell(token: string): Promise<string> {
    try {
      return (await this.tokens.identify(token)).node;
    } catch (error) {
      if (!(error instanceof FedgateError)) throw error;
      return `${error.reason} ${error.metadata.why ?? ''}`.trim();
    }
  }
}

const key = makeSigningKey();
const world = async () => new World([await key]);
const seconds = (ms: number): number => Math.floor(ms / 1_000);
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

test('tokens: one of a known issuer names its node, and costs a signature once', async t => {
  const w = await world();
  const token = await w.token();
  const first = w.tokens.identify(token);
  t.true(first instanceof Promise);
  t.is(w.tokens.identify(token), first, 'the same token is verified once at a time');
  t.is((await first).node, 'billing');
  t.false(w.tokens.identify(token) instanceof Promise);
  t.is(w.fetches, 1);
});

const REFUSED: readonly (readonly [what: string, claims: (nowMs: number) => JWTPayload, expected: string])[] = [
  ['of another audience', () => ({ aud: 'somebody-else' }), 'TOKEN_INVALID audience'],
  ['without an audience', () => ({ aud: undefined }) as never, 'TOKEN_INVALID audience'],
  ['of another issuer', () => ({ iss: 'https://other.example' }), 'TOKEN_INVALID issuer'],
  ['of an issuer whose name only begins alike', () => ({ iss: `${ISSUER}/` }), 'TOKEN_INVALID issuer'],
  ['without an end', () => ({ exp: undefined }) as never, 'TOKEN_INVALID no-expiry'],
  ['past its end', now => ({ exp: seconds(now) - 6 }), 'TOKEN_EXPIRED'],
  ['that is not good yet', now => ({ nbf: seconds(now) + 10 }), 'TOKEN_INVALID not-yet-valid'],
  ['that is good for years', now => ({ exp: seconds(now) + 90_000_000 }), 'TOKEN_INVALID lifetime'],
  ['whose end is a text', () => ({ exp: 'soon' as never }), 'TOKEN_INVALID claims'],
  ['without a subject', () => ({ sub: undefined }) as never, 'TOKEN_INVALID node'],
  ['whose subject is a list', () => ({ sub: ['billing'] as never }), 'TOKEN_INVALID node'],
  ['whose subject is no name', () => ({ sub: 'Billing/../x' }), 'TOKEN_INVALID node'],
  ['whose subject is a wildcard', () => ({ sub: '*' }), 'TOKEN_INVALID node'],
];
for (const [what, claims, expected] of REFUSED) {
  test(`tokens: one ${what} is refused with ${expected}`, async t => {
    const w = await world();
    t.is(await w.tell(await w.token(claims(w.nowMs))), expected);
  });
}

test('tokens: clocks may differ by the tolerance, in both directions', async t => {
  const w = await world();
  t.is(await w.tell(await w.token({ exp: seconds(w.nowMs) - 4 })), 'billing');
  t.is(await w.tell(await w.token({ nbf: seconds(w.nowMs) + 4 })), 'billing');
});

test('tokens: one that is known is refused once it is past its end', async t => {
  const w = await world();
  const token = await w.token({ exp: seconds(w.nowMs) + 60 });
  t.is(await w.tell(token), 'billing');
  w.nowMs += 66_000;
  t.is(await w.tell(token), 'TOKEN_EXPIRED');
});

test('tokens: what is not signed by the key that it names, in an algorithm that is taken, is refused', async t => {
  const rsa = await makeSigningKey('RS256', 'rsa');
  const w = new World([await key, rsa]);
  const good = await w.token();
  const [head = '', body = '', signature = ''] = good.split('.');
  // `none`, in several writings.
  for (const alg of ['none', 'None', 'NONE', ''])
    t.regex(
      await w.tell(`${encode({ alg, kid: (await key).kid })}.${body}.`),
      /^TOKEN_INVALID (algorithm|malformed)$/,
      alg,
    );
  // A shared secret that everybody knows: the public key.
  const secret = await exportSPKI((await importJWK(rsa.jwk, 'RS256')) as CryptoKey);
  const confused = `${encode({ alg: 'HS256', kid: 'rsa' })}.${body}`;
  const mac = createHmac('sha256', secret).update(confused).digest('base64url');
  t.is(await w.tell(`${confused}.${mac}`), 'TOKEN_INVALID algorithm');
  // An asymmetric one that is not listed.
  const listed = await makeSigningKey('ES384', 'es384');
  t.is(await w.tell(await w.token({}, listed)), 'TOKEN_INVALID algorithm');
  // The key of another algorithm.
  t.regex(await w.tell(await w.token({}, await key, { kid: 'rsa' })), /^TOKEN_INVALID (key|signature)$/);
  // Another key under the same name; a key that comes with the token.
  const forged = await makeSigningKey('ES256', (await key).kid);
  t.is(await w.tell(await w.token({}, forged)), 'TOKEN_INVALID signature');
  t.is(await w.tell(await w.token({}, forged, { jwk: forged.jwk })), 'TOKEN_INVALID signature');
  // Another body or signature.
  t.is(
    await w.tell(`${head}.${encode({ iss: ISSUER, aud: AUDIENCE, sub: 'ops', exp: 9e9 })}.${signature}`),
    'TOKEN_INVALID signature',
  );
  t.is(await w.tell(`${head}.${body}.`), 'TOKEN_INVALID signature');
  // What nobody understands, and says must be understood.
  t.regex(
    await w.tell(
      await w
        .token({}, undefined, { crit: ['exp'], exp: 1 })
        .catch(() => `${encode({ alg: 'ES256', crit: ['x'], x: 1 })}.${body}.${signature}`),
    ),
    /^TOKEN_INVALID/,
  );
  // Encrypted, and no token at all.
  const jwe = await new CompactEncrypt(Buffer.from('{}'))
    .setProtectedHeader({ alg: 'RSA-OAEP', enc: 'A256GCM' })
    .encrypt(await importJWK({ ...rsa.jwk, use: 'enc' }, 'RSA-OAEP'));
  t.is(await w.tell(jwe), 'TOKEN_INVALID issuer');
  for (const text of ['', 'a', 'a.b', 'a.b.c', `${head}..${signature}`, `${head}.${encode([])}.${signature}`])
    t.is(await w.tell(text), 'TOKEN_INVALID issuer', text);
});

test('tokens: a token without the name of its key counts only while the issuer has one key', async t => {
  const w = await world();
  t.is(await w.tell(await w.token({}, undefined, { kid: undefined })), 'billing');
  w.keys = [...w.keys, await makeSigningKey()];
  w.nowMs += LIFETIME_MS;
  t.is(await w.tell(await w.token({ iat: 1 }, undefined, { kid: undefined })), 'TOKEN_INVALID key');
});

test('tokens: a new key is fetched when a token names it; the old one counts until it is gone', async t => {
  const w = await world();
  const old = await w.token();
  t.is(await w.tell(old), 'billing');
  const next = await makeSigningKey();
  w.nowMs += COOLDOWN_MS;
  w.keys = [await key, next];
  t.is(await w.tell(await w.token({ sub: 'next' }, next)), 'next');
  t.is(await w.tell(old), 'billing');
  w.keys = [next];
  w.nowMs += LIFETIME_MS - 60_000;
  t.is(await w.tell(old), 'billing', 'nobody has looked yet');
  w.nowMs += 60_000;
  const again = await w.token({}, await key);
  t.is(await w.tell(again), 'TOKEN_INVALID key');
  t.is(w.fetches, 3);
});

test('tokens: keys that nobody knows, one after the other, cost the issuer one fetch in a cooldown', async t => {
  const w = await world();
  t.is(await w.tell(await w.token()), 'billing');
  w.nowMs += COOLDOWN_MS;
  for (let i = 0; i < 50; i++) {
    const token = await w.token({}, undefined, { kid: `random-${i}` });
    t.is(await w.tell(token), 'TOKEN_INVALID key');
    w.nowMs += 100;
  }
  t.is(w.fetches, 2);
  t.is(await w.tell(await w.token({ sub: 'still' })), 'still');
});

test('tokens: while the issuer is down its keys count for the stated time, and no longer', async t => {
  const w = await world();
  t.is(await w.tell(await w.token()), 'billing');
  w.down = true;
  for (const atMs of [LIFETIME_MS + 1, STALE_MS / 2, STALE_MS - 10_000]) {
    w.nowMs = 1_800_000_000_000 + atMs;
    t.is(await w.tell(await w.token()), 'billing', `${atMs}`);
  }
  w.nowMs = 1_800_000_000_000 + STALE_MS;
  t.is(await w.tell(await w.token()), 'AUTHENTICATOR_UNAVAILABLE');
  w.down = false;
  w.nowMs += 1_000;
  t.is(await w.tell(await w.token()), 'billing');
});

test('tokens: an issuer that was never reached refuses, and is not asked with every call', async t => {
  const w = await world();
  w.down = true;
  for (let i = 0; i < 20; i++) t.is(await w.tell(await w.token({ jti: `${i}` })), 'AUTHENTICATOR_UNAVAILABLE');
  t.is(w.fetches, 1);
});

test('tokens: what an issuer publishes beside public keys for signatures is not looked at', async t => {
  const w = await world();
  t.is(await w.tell(await w.token()), 'billing');
  const secret = { kty: 'oct', k: 'c2VjcmV0', kid: 'hs', alg: 'HS256' };
  w.keys = [await key, { ...(await key), jwk: secret }];
  w.nowMs += LIFETIME_MS;
  t.is(await w.tell(await w.token()), 'billing');
  w.keys = [{ ...(await key), jwk: { ...(await key).jwk, use: 'enc' } }];
  w.nowMs += LIFETIME_MS;
  t.is(await w.tell(await w.token()), 'billing', 'a set without a key for signatures is not taken');
});

test('tokens: whoever watches keys hears when one is gone', async t => {
  const w = await world();
  const node = await w.tokens.identify(await w.token());
  let gone = 0;
  w.tokens.onGone(() => gone++);
  t.true(w.tokens.stillGood(node));
  w.keys = [await makeSigningKey()];
  await w.tokens.recheck();
  t.is(gone, 0, 'it is not due');
  w.nowMs += LIFETIME_MS;
  await w.tokens.recheck();
  t.is(gone, 1);
  t.false(w.tokens.stillGood(node));
});

test('tokens: no error repeats anything out of the token', async t => {
  const w = await world();
  const marker = 'SENSITIVE';
  const texts: string[] = [];
  for (const claims of [{ sub: marker }, { aud: marker }, { iss: marker }, { sub: 'x', exp: 1, jti: marker }]) {
    const error = await t.throwsAsync(async () => w.tokens.identify(await w.token(claims)));
    texts.push(
      JSON.stringify([error?.message, (error as FedgateError).metadata, String((error as FedgateError).cause)]),
    );
  }
  const unknown = await t.throwsAsync(async () => w.tokens.identify(await w.token({}, undefined, { kid: marker })));
  texts.push(String(unknown?.message));
  t.false(texts.join().includes(marker), texts.join('\n'));
});

test('bearer: only one header `Bearer TOKEN` of at most 8 KiB is one', t => {
  const why = (values: readonly string[]): string => {
    try {
      return `token ${bearerToken(values)}`;
    } catch (error) {
      return (error as FedgateError).metadata.why ?? '';
    }
  };
  t.is(why([]), 'token undefined');
  t.is(why(['Bearer abc.def']), 'token abc.def');
  t.is(why(['bearer abc=']), 'token abc=');
  t.is(why([`Bearer ${'a'.repeat(MAX_TOKEN_BYTES)}`]), `token ${'a'.repeat(MAX_TOKEN_BYTES)}`);
  t.is(why([`Bearer ${'a'.repeat(MAX_TOKEN_BYTES + 1)}`]), 'size');
  t.is(why(['Bearer a', 'Bearer b']), 'several');
  t.is(why(['Bearer a,Bearer b']), 'several');
  for (const value of ['', 'Bearer', 'Bearer ', 'Basic YTpi', 'Bearer a b', 'Bearer é', 'Bearer a\n'])
    t.is(why([value]), 'malformed', value);
});

test('node names: a pattern takes what stands for `*` and nothing beside it', t => {
  const naming = { nodeClaim: 'sub', claimPattern: 'repo:acme/*:ref:refs/heads/main', nodePrefix: 'gh-', nodes: {} };
  const name = (claim: unknown): string | undefined => {
    try {
      return nodeOfClaim(claim, naming);
    } catch {
      return undefined;
    }
  };
  t.is(name('repo:acme/billing:ref:refs/heads/main'), 'gh-billing');
  for (const claim of [
    'repo:acme/billing:ref:refs/heads/main2',
    'repo:acme/billing:ref:refs/heads/dev',
    'repo:evil/billing:ref:refs/heads/main',
    'repo:acme/a/b:ref:refs/heads/main',
    'repo:acme/:ref:refs/heads/main',
    'repo:acme/:ref:refs/heads/mainrepo:acme/x:ref:refs/heads/main',
    'xrepo:acme/billing:ref:refs/heads/main',
    '',
  ])
    t.is(name(claim), undefined, claim);
  const listed = { ...naming, nodes: { 'user-17': 'erp' } };
  t.is(nodeOfClaim('user-17', listed), 'erp');
  for (const claim of ['erp', 'constructor', '__proto__', 'repo:acme/billing:ref:refs/heads/main'])
    t.throws(() => nodeOfClaim(claim, listed), undefined, claim);
});

test('node names: whatever a claim is, the name is one of a node or there is none', t => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.constantFrom('*', 'a*', '*b', 'a*b'), (claim, claimPattern) => {
        const naming = { nodeClaim: 'sub', claimPattern, nodePrefix: 'p-', nodes: {} };
        try {
          return /^p-[a-z0-9-]{1,61}$/.test(nodeOfClaim(claim, naming));
        } catch (error) {
          return error instanceof FedgateError && error.reason === 'TOKEN_INVALID';
        }
      }),
      { numRuns: 300 },
    ),
  );
});
