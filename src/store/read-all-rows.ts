import { Rows } from './rows.js';

/** Run as a process of its own by `checkRowsFile`: reads all that LMDB has in a folder. Ends with 0 when that went well. */
const [, , folder = ''] = process.argv;
const rows = await Rows.open(folder, { readOnly: true });
rows.readAll();
await rows.close();
