/** What a feature tells about itself in `GET /api/metadata`, under its key. */
export interface Section {
  read: () => Promise<unknown>;
  /** Lines of Markdown; by default one line for each entry that is a plain value. */
  toMarkdown?: (value: never) => string[];
}

/** Key -> section. A key that is not here is absent from the answer, which tells clients that there is no such feature. */
export type Sections = Readonly<Record<string, Section>>;

/** What the official CLI reads without asking whether it is there, for servers without these features. */
export const EMPTY_SECTIONS: Sections = {
  functions: { read: async () => [], toMarkdown: () => [] },
};

/** Reads all sections at once. */
export async function readSections(sections: Sections): Promise<Record<string, unknown>> {
  const entries = await Promise.all(
    Object.entries(sections).map(async ([key, section]) => [key, await section.read()] as const),
  );
  return Object.fromEntries(entries);
}

/** Writes the values that `readSections` returned as Markdown. */
export function sectionsAsMarkdown(sections: Sections, values: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(sections).flatMap(([key, { toMarkdown = plainValues }]) => {
    const lines = toMarkdown(values[key] as never);
    return lines.length > 0 ? [`## ${key}`, ...lines, ''] : [];
  });
}

function plainValues(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const entries = Object.entries(value).flatMap(([name, entry]) => {
    if (Array.isArray(entry)) return entry.every((item) => typeof item === 'string') ? [[name, entry.join(', ')]] : [];
    return typeof entry === 'object' && entry !== null ? [] : [[name, String(entry)]];
  });
  return entries.map(([name, text]) => `- ${name}: ${text || 'none'}`);
}
