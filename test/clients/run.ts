import { runClients } from './clients.js';

/** `npm run test:clients`: programs of other languages against two gateways. Needs python3 and go, and a network for their packages. */
process.exitCode = await runClients();
