import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  SignJWT,
} from 'jose';
import { createSelfSignedServer } from '../../src/identity/issue.js';
import type { TestScope } from './registry.js';

/** A key of an issuer, for signing. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

export async function makeSigningKey(algorithm = 'ES256', kid?: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const name = kid ?? (await calculateJwkThumbprint(jwk));
  return { kid: name, algorithm, privateKey, jwk: { ...jwk, kid: name, use: 'sig' } };
}

export const AUDIENCE = 'fedgate-acme';

/** Makes a token; claims that are undefined are left out. */
export function makeToken(
  key: SigningKey,
  issuer: string,
  claims: JWTPayload = {},
  nowMs: number = Date.now(),
  header: Record<string, unknown> = {},
): Promise<string> {
  const seconds = Math.floor(nowMs / 1_000);
  const all = { iss: issuer, aud: AUDIENCE, sub: 'billing', iat: seconds, exp: seconds + 600, ...claims };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new SignJWT(given).setProtectedHeader({ alg: key.algorithm, kid: key.kid, ...header }).sign(key.privateKey);
}

/** An OpenID Connect issuer, as small as one can be: its discovery document and its keys, over https on this machine. */
export interface TestIssuer {
  readonly url: string;
  /** PEM of what its certificate comes from. */
  readonly ca: string;
  /** The keys that it publishes. */
  keys: SigningKey[];
  /** When it is down it answers with 503. */
  down: boolean;
  /** How often its keys were fetched. */
  fetched: number;
  token(claims?: JWTPayload, key?: SigningKey): Promise<string>;
}

export async function startIssuer(t: TestScope): Promise<TestIssuer> {
  const { key, certificate } = await createSelfSignedServer('localhost', 'spiffe://issuer.example/test');
  const server = createServer({ key, cert: certificate }, (request, response) => {
    if (issuer.down) return void response.writeHead(503).end();
    if (request.url === '/.well-known/openid-configuration')
      return void response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}/keys` }));
    if (request.url !== '/keys') return void response.writeHead(404).end();
    issuer.fetched++;
    response.end(JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) }));
  });
  await new Promise<void>(resolve => server.listen(0, 'localhost', resolve));
  t.teardown(() => void server.close());
  const issuer: TestIssuer = {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    ca: certificate,
    keys: [await makeSigningKey()],
    down: false,
    fetched: 0,
    token: (claims, by = issuer.keys[0] as SigningKey) => makeToken(by, issuer.url, claims),
  };
  return issuer;
}
