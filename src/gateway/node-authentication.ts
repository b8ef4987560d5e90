import { readFile } from 'node:fs/promises';
import { bearerToken, invalidToken } from '../authentication/bearer.js';
import { IssuerKeys } from '../authentication/issuer-keys.js';
import { loadAuthenticator, OperatorModule } from '../authentication/operator-module.js';
import { TokenVerifier } from '../authentication/token-verifier.js';
import { Tokens } from '../authentication/tokens.js';
import type { TokenNode } from '../authentication/types.js';
import { describe, FedgateError } from '../errors.js';
import type { Identity } from '../identity/verify.js';
import type { Log } from '../telemetry/log.js';
import type { CallerCertificate, CallFacts, CallPolicy } from '../transport/calls.js';
import type { Admission } from './admission.js';
import type { GatewayConfig } from './config.js';
import { type Lease, Leases } from './leases.js';

/** A program of the own organisation that calls. */
export interface NodeCaller {
  readonly name: string;
  readonly means: 'certificate' | 'token';
  /** The certificate that it showed. Undefined: none. */
  readonly identity: Identity | undefined;
  /** When what it was identified by ends, milliseconds since 1970. */
  readonly endsMs: number;
  /** What else it was identified by. */
  readonly token: TokenNode | undefined;
}

type Authentication = GatewayConfig['authentication'];

/** Says who a program is that shows something else than a certificate: a token of an issuer, or what the operator's module knows. */
export class NodeAuthentication {
  readonly #certificates: boolean;
  readonly #tokens: Tokens;
  readonly #module: OperatorModule | undefined;
  readonly #leases = new Leases();
  #byCertificate: Pick<Admission, 'complaint'> | undefined;
  /** Whether anything but certificates is taken. */
  readonly takesTokens: boolean;

  private constructor(certificates: boolean, tokens: Tokens, module: OperatorModule | undefined, takesTokens: boolean) {
    this.#certificates = certificates;
    this.#tokens = tokens;
    this.#module = module;
    this.takesTokens = takesTokens;
    tokens.onGone(() => this.#leases.check(lease => this.#complaint(lease)));
  }

  /** Throws FILE_UNUSABLE. A missing issuer is no reason not to start. */
  static async open(
    { certificates, tokens, module, moduleTimeoutMs }: Authentication,
    log: Log,
  ): Promise<NodeAuthentication> {
    const now = (): number => Date.now();
    const verifiers: TokenVerifier[] = [];
    for (const token of tokens) {
      const keys = new IssuerKeys({
        issuer: token.issuer,
        jwksUri: token.jwksUri,
        ca: token.ca === undefined ? undefined : await readAuthorities(token.ca),
        lifetimeMs: token.keysLifetimeMs,
        staleMs: token.keysStaleMs,
        cooldownMs: token.keysCooldownMs,
        now,
        onTrouble: error => log.warn({ issuer: token.issuer, err: error }, 'keys of an issuer cannot be fetched'),
      });
      verifiers.push(new TokenVerifier({ ...token, keys, now }));
    }
    const operators =
      module === undefined
        ? undefined
        : new OperatorModule({
            authenticator: await loadAuthenticator(module),
            timeoutMs: moduleTimeoutMs,
            now,
            onTrouble: error => log.warn({ reason: describeWithoutSecrets(error) }, 'the authenticator failed'),
          });
    return new NodeAuthentication(
      certificates,
      new Tokens(verifiers, now),
      operators,
      verifiers.length > 0 || operators !== undefined,
    );
  }

  /** Who calls, by certificate, by what else it shows, or by both when they agree. */
  policy(byCertificate: Admission, seen: (caller: NodeCaller, remoteAddress: string) => void): CallPolicy<NodeCaller> {
    this.#byCertificate = byCertificate;
    return {
      authenticate: (certificate, path, facts) => {
        const shown = certificate && this.#withCertificate(byCertificate, certificate);
        if (!this.takesTokens) return shown ?? missing('no certificate was shown');
        const others = this.#others(path, facts, shown !== undefined);
        if (!others) return shown ?? missing('neither a certificate nor a bearer token was shown');
        const settle = (token: TokenNode): NodeCaller => {
          const caller = shown ? agreeing(shown, token) : byToken(token);
          if (!shown) seen(caller, facts.remoteAddress);
          return caller;
        };
        return others instanceof Promise ? others.then(settle) : settle(others);
      },
      onFailure: failure => byCertificate.onFailure(failure),
      lasting: (caller, end) => {
        const release = this.#leases.begin(caller, end);
        // While a token was asked about, the certificate beside it may have been revoked.
        const complaint = this.#complaint({ caller, end });
        if (complaint) end(complaint);
        return release;
      },
    };
  }

  /** Looks whether keys are gone, when that is due. */
  recheck(): void {
    void this.#tokens.recheck();
  }

  /** Certificates were revoked: ends the streams that were let in by one of them. */
  revoked(): void {
    this.#leases.check(lease => this.#complaint(lease));
  }

  #withCertificate(byCertificate: Admission, certificate: CallerCertificate): NodeCaller {
    if (!this.#certificates)
      throw new FedgateError('CERTIFICATE_UNTRUSTED', 'certificates of nodes are not taken by this gateway');
    const identity = byCertificate.authenticate(certificate);
    const { name, notAfterMs: endsMs } = identity;
    return { name, means: 'certificate', identity, endsMs, token: undefined };
  }

  /** Undefined: nothing is shown that anybody could judge. */
  #others(path: string, facts: CallFacts, hasCertificate: boolean): TokenNode | Promise<TokenNode> | undefined {
    const token = bearerToken(facts.header('authorization'));
    if (token !== undefined && (!this.#module || this.#tokens.speaksOf(token))) return this.#tokens.identify(token);
    if (!this.#module || (token === undefined && hasCertificate)) return undefined;
    return this.#module.identify({ method: path, remoteAddress: facts.remoteAddress, token, headers: facts.headers() });
  }

  #complaint({ caller: { identity, token } }: Lease): FedgateError | undefined {
    const complaint = identity && this.#byCertificate?.complaint(identity);
    // Of all else streams hear when their certificate ends, or when they are opened again.
    if (complaint?.reason === 'CERTIFICATE_REVOKED') return complaint;
    if (!token?.key || this.#tokens.stillGood(token)) return undefined;
    return invalidToken('key', 'the key that signed it is no more one of its issuer');
  }
}

const byToken = (token: TokenNode): NodeCaller => ({
  name: token.node,
  means: 'token',
  identity: undefined,
  endsMs: token.endsMs,
  token,
});

/** A call that shows both is one of the node that both name, for as long as both count. */
function agreeing(shown: NodeCaller, token: TokenNode): NodeCaller {
  if (token.node !== shown.name)
    throw new FedgateError('IDENTITY_MISMATCH', `the certificate is that of node ${shown.name}, the token is not`);
  return { ...shown, endsMs: Math.min(shown.endsMs, token.endsMs), token };
}

function missing(what: string): never {
  throw new FedgateError('CERTIFICATE_MISSING', what);
}

/** What a module throws may quote what it was given. */
const describeWithoutSecrets = (error: unknown): string =>
  error instanceof FedgateError ? error.message : error instanceof Error ? error.name : typeof error;

async function readAuthorities(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${path}: CA certificates not readable: ${describe(cause)}`, { cause });
  }
}
