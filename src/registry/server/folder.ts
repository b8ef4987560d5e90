import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { FedgateError } from '../../errors.js';
import {
  readKeyAndCertificate,
  readPrivateKey,
  writeFileAtomically,
  writeKeyAndCertificate,
} from '../../identity/files.js';
import { createAuthority, createSelfSignedServer, issueLeaf, type KeyAndCertificate } from '../../identity/issue.js';
import { type OrgName, parseFederationDomain, parseHostPort } from '../../identity/names.js';
import { registryDnsName } from '../caller.js';
import { parseRegistryConfig, type RegistryConfig, readRegistryConfig } from './config.js';

/**
 * Where a registry keeps what it is. `fedgate registry init` makes this folder:
 *
 *     registry.yaml              the configuration
 *     tls/tls.key, tls.crt       its TLS certificate, self-signed; every invitation carries the fingerprint
 *     snapshot/tls.key           what it signs snapshots with
 *     admin/ca/tls.*             the CA of operators' certificates
 *     admin/operator/tls.*       the operator's certificate, for the admin commands
 *     state/                     the database
 *     run.json                   while it runs: where
 */
export const registryFolder = (folder: string) => ({
  config: join(folder, 'registry.yaml'),
  tls: join(folder, 'tls'),
  snapshotKey: join(folder, 'snapshot', 'tls.key'),
  adminAuthority: join(folder, 'admin', 'ca'),
  operator: join(folder, 'admin', 'operator'),
  state: join(folder, 'state'),
  run: join(folder, 'run.json'),
});

/** The name that operators' certificates carry. Reserved: no member can have it. */
export const REGISTRY_ORG = 'REGISTRY' as OrgName;

export interface InitOptions {
  readonly folder: string;
  /** The federation's domain. */
  readonly federation: string;
  /** `host:port` for members. @default '0.0.0.0:7400' */
  readonly listen?: string;
  /** `host:port` for operators. @default '127.0.0.1:7401' */
  readonly adminListen?: string;
  /** `host:port` at which members reach it; written into invitations. None: where it listens. @default none */
  readonly advertise?: readonly string[];
}

export const DEFAULT_LISTEN = '0.0.0.0:7400';
export const DEFAULT_ADMIN_LISTEN = '127.0.0.1:7401';

/** Makes a registry's folder. Throws FILE_UNUSABLE when there is one already: its keys are the federation. */
export async function initRegistry(options: InitOptions): Promise<void> {
  const { folder } = options;
  const paths = registryFolder(folder);
  const federation = parseFederationDomain(options.federation, 'domain');
  const config = stringify({
    federation,
    listen: options.listen ?? DEFAULT_LISTEN,
    adminListen: options.adminListen ?? DEFAULT_ADMIN_LISTEN,
    advertise: options.advertise ?? [],
  });
  // What is written must be what `serve` accepts.
  parseRegistryConfig(config, paths.config);
  for (const path of [paths.config, paths.tls, paths.snapshotKey]) {
    if (existsSync(path)) throw new FedgateError('FILE_UNUSABLE', `${path} is already there; a registry is made once`);
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await makeKeys(folder, federation);
  // Last: a folder with this file is a registry.
  await writeFileAtomically(paths.config, config);
}

async function makeKeys(folder: string, federation: string): Promise<void> {
  const paths = registryFolder(folder);
  const tls = await createSelfSignedServer(registryDnsName(federation), `spiffe://registry.${federation}/registry`);
  await writeKeyAndCertificate(paths.tls, tls);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFileAtomically(paths.snapshotKey, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  const authority = await createAuthority(federation, REGISTRY_ORG);
  await writeKeyAndCertificate(paths.adminAuthority, authority);
  const operator = await issueLeaf(authority, federation, { org: REGISTRY_ORG, role: 'node', name: 'operator' });
  await writeKeyAndCertificate(paths.operator, operator);
}

/** What a registry runs with. */
export interface RegistryMaterial {
  readonly config: RegistryConfig;
  readonly tls: KeyAndCertificate;
  readonly snapshotKey: KeyObject;
  /** PEM. The CA's key is needed only to make operators' certificates. */
  readonly adminAuthority: string;
}

/** Throws FILE_UNUSABLE, KEY_EXPOSED or CONFIG_INVALID. */
export async function readRegistryFolder(folder: string): Promise<RegistryMaterial> {
  const paths = registryFolder(folder);
  const config = await readRegistryConfig(paths.config);
  const [tls, snapshotPem, admin] = await Promise.all([
    readPairIn(paths.tls),
    readPrivateKey(paths.snapshotKey),
    readPairIn(paths.adminAuthority),
  ]);
  return { config, tls, snapshotKey: createPrivateKey(snapshotPem), adminAuthority: admin.certificate };
}

/** Reads `tls.key` and `tls.crt` of a folder. */
export const readPairIn = (folder: string): Promise<KeyAndCertificate> =>
  readKeyAndCertificate(join(folder, 'tls.key'), join(folder, 'tls.crt'));

/** What invitations say: the advertised addresses, or where it listens. Throws CONFIG_INVALID when that is no place to dial. */
export function advertisedAddresses({ advertise }: RegistryConfig, listening: string): readonly string[] {
  if (advertise.length > 0) return advertise;
  const { host } = parseHostPort(listening, 'listen');
  if (host !== '0.0.0.0' && host !== '::') return [listening];
  throw new FedgateError(
    'CONFIG_INVALID',
    `nobody can dial ${listening}: list the addresses at which members reach the registry under advertise in registry.yaml`,
  );
}
