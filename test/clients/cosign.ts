import { checkCosign } from './approvals.js';
import { passed, say } from './tap.js';
import { isInstalled, prepareCosign } from './toolchain.js';

/** `npm run test:cosign`: cosign verifies our bundles. Uses the cosign on the PATH, otherwise builds one with go, once. */
if (!(await isInstalled('cosign', 'version')) && !(await isInstalled('go', 'version'))) {
  say('# test:cosign: not run: neither cosign nor go is installed');
  process.exitCode = process.env.CI ? 1 : 0;
} else {
  say('# installing cosign where it is not (the first time takes long)');
  await checkCosign(await prepareCosign(), passed);
}
