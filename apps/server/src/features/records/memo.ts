/** Remembers the results of a pure function of text, for the headers and parameters that every request repeats. */
export function memoize<Result>(compute: (text: string) => Result, limit = 1000): (text: string) => Result {
  const known = new Map<string, Result>();
  return (text) => {
    const found = known.get(text);
    if (found !== undefined) return found;
    const result = compute(text);
    if (text.length > MAX_TEXT) return result;
    if (known.size >= limit) known.delete(known.keys().next().value ?? '');
    known.set(text, result);
    return result;
  };
}

/** A long text is rarely repeated and expensive to keep. */
const MAX_TEXT = 2048;
