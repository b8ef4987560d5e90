import { runClients } from './clients.js';
import { runPkcs11 } from './pkcs11.js';

/**
 * `npm run test:clients`: what needs programs that are not Node's. Programs of other languages against two gateways need python3 and go, and a
 * network for their packages; approval keys in a token need softhsm2 and opensc, unless `--without-token` leaves them out.
 */
const pkcs11 = process.argv.includes('--without-token') ? 0 : await runPkcs11();
const clients = await runClients();
process.exitCode = Math.max(pkcs11, clients);
