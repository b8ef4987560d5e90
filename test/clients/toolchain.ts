import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../src/package-root.js';
import { Shell } from '../support/shell.js';

/** What is compiled or installed once and kept: in build/, which git ignores. */
const kept = fileURLToPath(new URL('build/clients/', packageRoot));
const example = (language: string): string => fileURLToPath(new URL(`examples/${language}/`, packageRoot));
const buf = fileURLToPath(new URL('node_modules/.bin/buf', packageRoot));

const TOOLS = {
  'protoc-gen-go': 'google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12',
  'protoc-gen-go-grpc': 'google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2',
} as const;
const GRPCURL = 'github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4';
const COSIGN = 'github.com/sigstore/cosign/v3/cmd/cosign@v3.0.4';

/** Longest time for a download and a build. */
const SETUP_MS = 600_000;
const COSIGN_MS = 3_600_000;

/** How to start the two programs of a language. */
export interface Programs {
  readonly language: string;
  publish(address: string, variables: Readonly<Record<string, string>>): Shell;
  subscribe(pattern: string, count: number, variables: Readonly<Record<string, string>>): Shell;
}

/** Whether a command can be started at all. */
export async function isInstalled(command: string, versionFlag: string): Promise<boolean> {
  return await new Shell(command, [versionFlag], {}).finished().then(
    () => true,
    () => false,
  );
}

/** Installs what examples/python needs into an environment of its own. */
export async function preparePython(): Promise<Programs> {
  const venv = join(kept, 'python');
  const python = join(venv, 'bin', 'python');
  const folder = example('python');
  await new Shell('python3', ['-m', 'venv', venv], {}).finished(SETUP_MS);
  await new Shell(python, ['-m', 'pip', 'install', '--quiet', '-r', join(folder, 'requirements.txt')], {}).finished(
    SETUP_MS,
  );
  const start = (args: readonly string[], variables: Readonly<Record<string, string>>): Shell =>
    new Shell(
      python,
      args,
      { ...variables, FEDGATE_GENERATED: join(kept, 'python-stubs'), PYTHONDONTWRITEBYTECODE: '1' },
      folder,
    );
  return {
    language: 'Python',
    publish: (address, variables) => start(['publish.py', address], variables),
    subscribe: (pattern, count, variables) => start(['subscribe.py', pattern, String(count)], variables),
  };
}

/** Installs securesystemslib into an environment of its own; gives back how to run examples/python/verify_approval.py. */
export async function preparePythonVerifier(): Promise<(args: readonly string[]) => Shell> {
  const venv = join(kept, 'python-approvals');
  const python = join(venv, 'bin', 'python');
  const folder = example('python');
  const requirements = join(folder, 'requirements-approvals.txt');
  await new Shell('python3', ['-m', 'venv', venv], {}).finished(SETUP_MS);
  await new Shell(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements], {}).finished(SETUP_MS);
  return args => new Shell(python, [join(folder, 'verify_approval.py'), ...args], { PYTHONDONTWRITEBYTECODE: '1' });
}

/** cosign from the PATH; otherwise built once, which takes some minutes, and kept. Gives back the command. */
export async function prepareCosign(): Promise<string> {
  if (await isInstalled('cosign', 'version')) return 'cosign';
  const GOBIN = join(kept, 'bin');
  const built = join(GOBIN, 'cosign');
  if (await isInstalled(built, 'version')) return built;
  await mkdir(GOBIN, { recursive: true });
  await new Shell('go', ['install', COSIGN], { GOBIN }).finished(COSIGN_MS);
  return built;
}

/** Generates the stubs of examples/go and builds its programs, as its README says. */
export async function prepareGo(): Promise<Programs> {
  const folder = example('go');
  const GOBIN = join(folder, 'bin');
  for (const tool of Object.values(TOOLS)) await new Shell('go', ['install', tool], { GOBIN }).finished(SETUP_MS);
  await new Shell(buf, ['generate'], {}, folder).finished(SETUP_MS);
  await new Shell('go', ['build', '-o', `${GOBIN}/`, './publish', './subscribe'], {}, folder).finished(SETUP_MS);
  return {
    language: 'Go',
    publish: (address, variables) => new Shell(join(GOBIN, 'publish'), [address], variables),
    subscribe: (pattern, count, variables) => new Shell(join(GOBIN, 'subscribe'), [pattern, String(count)], variables),
  };
}

/** Installs grpcurl; gives back the folder to put on the PATH. */
export async function prepareGrpcurl(): Promise<string> {
  const GOBIN = join(kept, 'bin');
  await mkdir(GOBIN, { recursive: true });
  await new Shell('go', ['install', GRPCURL], { GOBIN }).finished(SETUP_MS);
  return GOBIN;
}
