/** Text that is HTML. A class, so that nothing a request brings can pass for it. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Insert = string | number | Html | readonly Html[] | false | null | undefined;

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Builds HTML from a template. What is inserted is escaped, unless it is HTML itself; nothing stands for nothing. */
export function html(strings: TemplateStringsArray, ...inserts: readonly Insert[]): Html {
  const text = strings.map((string, index) => string + toText(inserts[index])).join('');
  return new Html(text);
}

function toText(insert: Insert): string {
  if (insert instanceof Html) return insert.text;
  if (insert === undefined || insert === null || insert === false) return '';
  if (typeof insert === 'object') return insert.map(({ text }) => text).join('');
  return String(insert).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
