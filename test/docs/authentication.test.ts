import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { connect } from '../../src/client/index.js';
import { gatewayDnsName } from '../../src/identity/subject.js';
import { packageRoot } from '../../src/package-root.js';
import { authorityOf } from '../support/attack.js';
import { startFederation } from '../support/federation.js';
import { AUDIENCE, startIssuer } from '../support/issuer.js';
import { FEDERATION, temporaryFolder } from '../support/registry.js';
import { Shell } from '../support/shell.js';
import { codeBlock } from './code-blocks.js';

test('authentication.md: the call with a token publishes, and the module lets in whom it knows', async t => {
  const issuer = await startIssuer(t);
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'issuer.crt'), issuer.ca);
  await writeFile(join(folder, 'authenticator.mjs'), await codeBlock('authentication.md', 'authenticator.mjs'));
  const { ACME } = await startFederation(t, {
    ACME: {
      access: 'nodes: [{ node: "*", publish: ["**"] }]',
      extra: `authentication:
  tokens: [{ issuer: "${issuer.url}", audience: [${AUDIENCE}], ca: ${join(folder, 'issuer.crt')} }]
  module: ${join(folder, 'authenticator.mjs')}`,
    },
  });
  const serverName = gatewayDnsName(FEDERATION, 'ACME', 'gw1');
  const variables = {
    DIR: dirname(await ACME.context('any')),
    GATEWAY: ACME.gateway.nodeAddress,
    SERVER_NAME: serverName,
    TOKEN: await issuer.token(),
    PATH: `${fileURLToPath(new URL('node_modules/.bin', packageRoot))}:${process.env.PATH}`,
  };
  const shell = Shell.paste(await codeBlock('authentication.md', 'buf curl: publish with a token'), variables);
  t.teardown(() => shell.kill());
  t.like(JSON.parse(await shell.finished(60_000)).result, { side: 'SIDE_LOCAL' });
  const client = await connect({
    ...{ address: ACME.gateway.nodeAddress, serverName, token: 's3cret-of-the-erp' },
    authorities: [(await authorityOf(ACME.folder)).certificate],
  });
  t.teardown(() => client.close());
  t.is((await client.publish('orders/created', 'x')).side, 'local');
});
