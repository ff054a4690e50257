import { execFile } from 'node:child_process';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { scratchFolder, startServer } from '../start/process.ts';

const ROOT = new URL('../../../../', import.meta.url).pathname;
const FENCE = /^```(\w+)\n(.*?)^```$/gms;
const MARK = '@@ block ';

/** One command block of a document and what it must print, where the document says so. */
interface Step {
  script: string;
  expected: string | undefined;
}

/** The blocks of a document that run: `bash` is executed, `text` after it is its output, `js` is a file named before. */
function readSteps(markdown: string): { steps: Step[]; files: Map<string, string> } {
  const steps: Step[] = [];
  const files = new Map<string, string>();
  for (const { 1: language, 2: body = '', index } of markdown.matchAll(FENCE)) {
    const last = steps.at(-1);
    if (language === 'bash') steps.push({ script: body, expected: undefined });
    else if (language === 'text' && last) last.expected = body.trim();
    else if (language === 'js') {
      const [name] = markdown.slice(0, index).match(/[\w-]+\.mjs(?!.*\.mjs)/s) ?? [];
      if (!name) throw new Error('a js block needs the name of its file in the text before it');
      files.set(name, body);
    }
  }
  return { steps, files };
}

/** Runs a document from top to bottom in one shell, beside a fresh server, as its reader would. */
export async function runDocument(path: string): Promise<{ script: string; expected: string; printed: string }[]> {
  const { steps, files } = readSteps(await readFile(join(ROOT, path), 'utf8'));
  if (steps.length === 0) return [];
  const folder = await scratchFolder();
  const server = await startServer({ DATA_DIR: join(folder, '.insforge-data') });
  await server.ready();
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  for (const [name, body] of files) await writeFile(join(folder, name), body);

  const script = steps.map((step, index) => `printf '\\n${MARK}${index}\\n'\n${step.script}`).join('\n');
  const shell = promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder });
  const { stdout } = await shell.catch(({ stdout, stderr }) => {
    throw new Error(`${path} fails after:\n${stdout}\n${stderr}`);
  });
  const printed = stdout.split(/\n@@ block \d+\n/).slice(1);
  return steps.flatMap(({ script, expected }, index) =>
    expected === undefined ? [] : [{ script, expected, printed: printed[index]?.trim() ?? '' }],
  );
}
