/** The folder of the installed package: compiled files live in `dist/src/`, two levels below it. */
export const packageRoot = new URL('../../', import.meta.url);
