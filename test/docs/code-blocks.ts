import { readFile } from 'node:fs/promises';
import { packageRoot } from '../../src/package-root.js';

/** The text of the one fenced block under a heading of a page in docs/. Throws when there is none. */
export async function codeBlock(page: string, heading: string): Promise<string> {
  const text = await readFile(new URL(`docs/${page}`, packageRoot), 'utf8');
  const section = text.split(/^#+ /m).find(each => each.startsWith(`${heading}\n`));
  const block = section && /^```(?:sh|js)\n([\s\S]*?)^```$/m.exec(section)?.[1];
  if (block === undefined) throw new Error(`docs/${page} has no code block under "${heading}"`);
  return block;
}
