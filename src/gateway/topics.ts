import { createPrivateKey, X509Certificate } from 'node:crypto';
import { FedgateError } from '../errors.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import type { OrgName } from '../identity/names.js';
import { signDetached, verifyDetached } from '../identity/signing.js';
import { CertificateVerifier, type Identity } from '../identity/verify.js';
import type { TopicsLaneHost } from '../link/topics-lanes.js';
import { parsePattern } from '../messaging/address.js';
import { matches } from '../messaging/pattern.js';
import type { Policy } from '../policy/types.js';
import type { Directory } from '../registry/directory.js';
import type { TopicHost } from '../services/topic-service.js';
import { sha256 } from '../sha256.js';
import type { Store } from '../store/store.js';
import type { Log } from '../telemetry/log.js';
import { Author } from '../topics/author.js';
import { TopicGrants } from '../topics/grants.js';
import { TICK_MS } from '../topics/limits.js';
import type { Retention } from '../topics/topic.js';
import { Topics as Domain } from '../topics/topics.js';
import type { AuthorId, Objection, SignedHeader } from '../topics/types.js';
import { CONFIG_SCHEMA, type GatewayConfig } from './config.js';
import type { Refusals } from './refusals.js';

export interface TopicsParts {
  readonly federation: string;
  readonly org: OrgName;
  readonly config: GatewayConfig;
  readonly policy: Policy;
  readonly identity: KeyAndCertificate;
  readonly directory: Directory;
  readonly store: Store;
  readonly refusals: Refusals;
  readonly log: Log;
}

/** How often rows of posts that are held no longer are removed, if nothing else removed them. */
const TIDY_MS = 5_000;
/** Certificates that counted once. */
const MAX_REMEMBERED = 10_000;

/** What a gateway has for topics. */
export class Topics {
  readonly #parts: TopicsParts;
  readonly #domain: Domain;
  readonly #author: Author;
  readonly #grants: TopicGrants;
  readonly #verifier: CertificateVerifier;
  readonly #timers: NodeJS.Timeout[];
  /** Certificates that counted once, by fingerprint: who still hands on what they signed may not know yet that they do not any more. */
  readonly #counted = new Set<string>();
  #tidying: Promise<void> = Promise.resolve();

  private constructor(parts: TopicsParts, author: Author) {
    this.#parts = parts;
    this.#author = author;
    const { federation, org, config, directory } = parts;
    this.#verifier = new CertificateVerifier(federation, directory);
    this.#grants = new TopicGrants(org, config.access.topics);
    this.#domain = new Domain({
      federation,
      own: { org, gateway: config.gateway },
      grants: this.#grants,
      retention: topic => retentionOf(config, topic),
      maxBytes: config.topics.bytes,
      ownEpoch: topic => author.epochOf(topic),
      onOwnDropped: post => author.dropped(post),
      host: {
        now: Date.now,
        random: Math.random,
        verify: (signed, of, certificate) => this.#verify(signed, of, certificate),
        alarm: (error, facts) => parts.refusals.write(error, String(facts.org ?? ''), facts, true),
      },
    });
    this.#timers = [
      setInterval(() => this.#domain.tick(), TICK_MS),
      setInterval(() => {
        this.#tidying = this.#tidy();
      }, TIDY_MS),
    ];
  }

  /** Reads what the own nodes published. */
  static async open(parts: TopicsParts): Promise<Topics> {
    const { federation, org, config, identity, store } = parts;
    const signingKey = createPrivateKey(identity.key);
    const author = await Author.load({
      ...{ store, federation, own: { org, gateway: config.gateway } },
      certificate: new X509Certificate(identity.certificate).raw,
      sign: header => signDetached('topic', signingKey, header),
      now: Date.now,
    });
    const topics = new Topics(parts, author);
    await author.start(topics.#domain);
    return topics;
  }

  /** Undefined: no topic is granted to anybody, so links have no lane for them. */
  get forPeers(): TopicsLaneHost | undefined {
    if (!this.#grants.any) return undefined;
    const { federation, refusals } = this.#parts;
    return {
      federation,
      topics: this.#domain,
      onAlarm: (error, { org }) => refusals.write(error, org, { org }, true),
    };
  }

  /** For the own nodes. */
  forNodes(draining: AbortSignal): TopicHost {
    const { config, org, policy } = this.#parts;
    return {
      org,
      policy,
      gateway: config.gateway,
      topics: this.#domain,
      author: this.#author,
      grants: this.#grants,
      keepMs: topic => retentionOf(config, topic).keepMs,
      subscriptionsPerNode: config.limits.subscriptionsPerNode,
      draining,
    };
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#tidying;
  }

  async #tidy(): Promise<void> {
    await this.#author.tidy().catch(error => this.#parts.log.warn({ err: error }, 'rows of topics cannot be removed'));
  }

  #verify({ header, signature }: SignedHeader, author: AuthorId, certificate: Buffer): Objection | undefined {
    const digest = sha256(certificate);
    const name = digest.toString('latin1');
    let identity: Identity;
    try {
      const fingerprint = (digest.toString('hex').toUpperCase().match(/../g) ?? []).join(':');
      identity = this.#verifier.identify(fingerprint, () => readCertificate(certificate));
    } catch (error) {
      if (!(error instanceof FedgateError)) throw error;
      return { error, forged: error.reason === 'CERTIFICATE_UNTRUSTED' && !this.#counted.has(name) };
    }
    if (this.#counted.size >= MAX_REMEMBERED) this.#counted.clear();
    this.#counted.add(name);
    if (identity.role !== 'gateway' || identity.org !== author.org || identity.name !== author.gateway)
      return { error: notItself(identity, author), forged: true };
    return verifyDetached('topic', identity.publicKey, header, signature)
      ? undefined
      : { error: invalid(author), forged: true };
  }
}

/** As the first entry that matches says; the defaults of one otherwise. */
function retentionOf({ topics }: GatewayConfig, topic: string): Retention {
  const found = topics.retention.find(({ pattern }) => matches(parsePattern(pattern), topic));
  return found ?? DEFAULT_RETENTION;
}

const DEFAULT_RETENTION: Retention = (() => {
  const { topics } = CONFIG_SCHEMA.parse({
    listen: { nodes: '127.0.0.1:0', peers: '127.0.0.1:0' },
    topics: { retention: [{ pattern: '**' }] },
  });
  return topics.retention[0] as Retention;
})();

function readCertificate(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new FedgateError('CERTIFICATE_UNTRUSTED', 'the certificate of an author is none', { cause });
  }
}

const notItself = ({ org, name, role }: Identity, author: AuthorId): FedgateError =>
  new FedgateError(
    'IDENTITY_MISMATCH',
    `a post of ${author.org}/${author.gateway} came with the certificate of ${org}/${role}/${name}`,
  );

const invalid = ({ org, gateway }: AuthorId): FedgateError =>
  new FedgateError('SIGNATURE_INVALID', `the signature of a post of ${org}/${gateway} does not hold`);
