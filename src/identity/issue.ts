import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FedgateError } from '../errors.js';
import type { OrgName } from './names.js';
import { gatewayDnsName, type Role, spiffeId } from './subject.js';

/** A private key and its certificate, both PEM. */
export interface KeyAndCertificate {
  readonly key: string;
  readonly certificate: string;
}

/** Days a certificate is good, unless asked otherwise. */
export const DEFAULT_LIFETIME_DAYS = { ca: 3650, leaf: 365, registry: 3650 } as const;

/** What the certificate authority of an organisation needs to issue. */
export type Authority = KeyAndCertificate;

/** Makes an organisation's certificate authority: a new P-256 key and its self-signed certificate. */
export function createAuthority(
  federation: string,
  org: string,
  days: number = DEFAULT_LIFETIME_DAYS.ca,
): Promise<Authority> {
  const extensions = [
    'basicConstraints = critical, CA:TRUE, pathlen:0',
    'keyUsage = critical, keyCertSign, cRLSign',
    'subjectKeyIdentifier = hash',
  ];
  return makeCertificate({
    commonName: `${org} CA`,
    organisation: `${org.toLowerCase()}.${federation}`,
    extensions,
    days,
  });
}

/** Issues a gateway's, node's or approver's certificate under an organisation's authority, with a new P-256 key. */
export function issueLeaf(
  authority: Authority,
  federation: string,
  subject: { readonly org: OrgName; readonly role: Role; readonly name: string },
  days: number = DEFAULT_LIFETIME_DAYS.leaf,
): Promise<KeyAndCertificate> {
  const names = [`URI:${spiffeId(federation, subject)}`];
  if (subject.role === 'gateway') names.push(`DNS:${gatewayDnsName(federation, subject.org, subject.name)}`);
  return makeCertificate({
    commonName: subject.name,
    organisation: `${subject.org.toLowerCase()}.${federation}`,
    extensions: leafExtensions(names, 'serverAuth, clientAuth'),
    days,
    authority,
  });
}

/** Makes a self-signed TLS server certificate; trusted by its fingerprint. */
export function createSelfSignedServer(
  dnsName: string,
  uri: string,
  days: number = DEFAULT_LIFETIME_DAYS.registry,
): Promise<KeyAndCertificate> {
  const extensions = leafExtensions([`DNS:${dnsName}`, `URI:${uri}`], 'serverAuth, clientAuth');
  return makeCertificate({ commonName: dnsName, organisation: 'fedgate registry', extensions, days });
}

const leafExtensions = (names: readonly string[], usage: string): string[] => [
  'basicConstraints = critical, CA:FALSE',
  'keyUsage = critical, digitalSignature',
  `extendedKeyUsage = ${usage}`,
  `subjectAltName = ${names.join(', ')}`,
  'subjectKeyIdentifier = hash',
];

interface CertificateRequest {
  readonly commonName: string;
  readonly organisation: string;
  readonly extensions: readonly string[];
  readonly days: number;
  /** Who signs. Undefined: the new key itself. */
  readonly authority?: Authority;
}

async function makeCertificate(request: CertificateRequest): Promise<KeyAndCertificate> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const certificate = await withPem(async (pem, folder) => {
    const config = opensslConfig(request);
    const csrConfigFile = join(folder, `${randomBytes(8).toString('hex')}.cnf`);
    await writeFile(csrConfigFile, config);
    const { csr } = await pem.createCSR({ clientKey: key, csrConfigFile, hash: 'sha256' });
    await rm(csrConfigFile);
    const signer = request.authority
      ? { serviceKey: request.authority.key, serviceCertificate: request.authority.certificate }
      : { serviceKey: key, selfSigned: true };
    const serial = `0x${(0x40 | (randomBytes(1).readUInt8() & 0x3f)).toString(16)}${randomBytes(15).toString('hex')}`;
    const made = await pem.createCertificate({ csr, config, days: request.days, serial, ...signer } as never);
    return made.certificate;
  });
  const pemText = `${certificate.trim()}\n`;
  // What openssl made is read back: a certificate without its names or constraints must never leave this function.
  const read = new X509Certificate(pemText);
  if (!read.checkPrivateKey(privateKey))
    throw new FedgateError('INTERNAL', 'openssl made a certificate for another key');
  return { key, certificate: pemText };
}

/** Values reach openssl's configuration unescaped, so all of them come from checked names; this is the last line of defence. */
function opensslConfig({ commonName, organisation, extensions }: CertificateRequest): string {
  const values = [commonName, organisation, ...extensions];
  const bad = values.find(value => /[^A-Za-z0-9 .,:/=_-]/.test(value));
  if (bad !== undefined) throw new FedgateError('INTERNAL', 'a name that must not reach a certificate');
  return [
    '[req]',
    'prompt = no',
    'distinguished_name = dn',
    'req_extensions = v3_req',
    '[dn]',
    `CN = ${commonName.slice(0, 64)}`,
    `O = ${organisation.slice(0, 64)}`,
    // pem asks openssl for the section `v3_req` when a certificate is issued.
    '[v3_req]',
    ...extensions,
    '',
  ].join('\n');
}

interface PemPromises {
  createCSR(options: object): Promise<{ csr: string }>;
  createCertificate(options: object): Promise<{ certificate: string }>;
}

let privateFolder: string | undefined;
let queue: Promise<unknown> = Promise.resolve();

/**
 * Runs one use of pem at a time, in a private temporary folder.
 *
 * pem 1.15 writes keys to the system's temporary folder readable by everybody, and prints what openssl says, keys included, when
 * the variable CI is set. It reads the folder's name when it is imported, so the folder lives as long as the process.
 */
function withPem<T>(use: (pem: PemPromises, folder: string) => Promise<T>): Promise<T> {
  const run = queue.then(async () => {
    const { CI } = process.env;
    try {
      delete process.env.CI;
      privateFolder ??= makePrivateFolder();
      process.env.PEMJS_TMPDIR = privateFolder;
      const { default: pem } = await import('pem');
      return await use(pem.promisified as unknown as PemPromises, privateFolder);
    } catch (cause) {
      throw new FedgateError('FILE_UNUSABLE', `openssl could not make a certificate: ${firstLine(cause)}`, { cause });
    } finally {
      if (CI !== undefined) process.env.CI = CI;
    }
  });
  queue = run.catch(() => undefined);
  return run;
}

function makePrivateFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fedgate-pem-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const firstLine = (error: unknown): string =>
  error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
