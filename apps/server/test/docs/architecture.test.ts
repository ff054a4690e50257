import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';

const ROOT = new URL('../../../../', import.meta.url);

test.each(['ARCHITECTURE.md', 'CONTRIBUTING.md'])('every path that %s names exists', async (document) => {
  const text = await readFile(new URL(document, ROOT), 'utf8');
  const paths = [...text.matchAll(/`((?:apps|packages|bench|docs|platform|features)\/[\w./-]*)`/g)].map(
    ([, path]) => path,
  );
  expect(paths.length).toBeGreaterThan(2);
  const missing = paths.filter(
    (path) => !['', 'apps/server/src/'].some((base) => existsSync(new URL(base + path, ROOT))),
  );
  expect(missing).toEqual([]);
});
