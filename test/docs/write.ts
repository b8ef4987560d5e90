import { writeFile } from 'node:fs/promises';
import { generatedPages, pageUrl } from './generate.js';

/** `npm run docs`: writes what is made from the code. */
for (const { path, content } of await generatedPages()) {
  await writeFile(pageUrl(path), content);
  process.stderr.write(`${path}\n`);
}
