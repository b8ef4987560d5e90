/** Text of others made safe to show: control, format and line-separating characters become `\uXXXX`, tabs stay. */
export function escapeControls(text: string): string {
  // Nearly always: and the other pattern takes V8 a while to make ready.
  if (/^[\t -~]*$/.test(text)) return text;
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, character =>
    character === '\t' ? character : `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}
