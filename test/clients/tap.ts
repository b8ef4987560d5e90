let count = 0;

/** A line as in TAP, so that a script can count it. What fails throws. */
export const passed = (what: string): void => say(`ok ${++count} - ${what}`);

export const say = (line: string): void => void process.stdout.write(`${line}\n`);
