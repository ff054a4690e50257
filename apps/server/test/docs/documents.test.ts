import { readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { runDocument } from './documents.ts';

const ROOT = new URL('../../../../', import.meta.url);
const documents = [
  'README.md',
  ...(await readdir(new URL('docs', ROOT))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
];

test.each(documents)('%s does what it says', async (path) => {
  for (const { script, expected, printed } of await runDocument(path)) expect(printed, script).toBe(expected);
});
