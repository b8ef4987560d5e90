import { readFileSync } from 'node:fs';
import { packageRoot } from './package-root.js';

const manifest = JSON.parse(readFileSync(new URL('package.json', packageRoot), 'utf8')) as { version: string };

export const SOFTWARE_VERSION = manifest.version;
/** How this software names itself to others. */
export const SOFTWARE = `fedgate/${SOFTWARE_VERSION}`;
