import { Rows } from './rows.js';

/**
 * Run as a process of its own by `checkRowsFile`: reads all that LMDB has in a folder and, with `write`, its list of free pages too.
 * Ends with 0 when that went well.
 */
const [, , folder = '', use = 'read'] = process.argv;
const rows = await Rows.open(folder, { readOnly: use === 'read' });
rows.readAll();
if (use === 'write') rows.searchFree();
await rows.close();
