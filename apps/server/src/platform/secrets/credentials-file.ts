import { randomBytes } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEnv } from 'node:util';

const NAME = 'credentials.env';
const HEADER = '# Written by InsForge. Keep it private: whoever reads it owns this backend.\n';

export type Credentials = Partial<Record<string, string>>;

/** The file in the data folder that holds the keys of this server, in a form that a shell can source. */
export function credentialsPath(dataDir: string): string {
  return join(dataDir, NAME);
}

/** Reads the file; an absent one is empty. */
export async function readCredentials(dataDir: string): Promise<Credentials> {
  try {
    return parseEnv(await readFile(credentialsPath(dataDir), 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw error;
  }
}

/** Merges values into the file. It is replaced as a whole, on disk before the call returns, mode 0600. */
export async function writeCredentials(dataDir: string, values: Credentials): Promise<void> {
  const before = await readCredentials(dataDir);
  const merged = { ...before, ...values };
  if (Object.entries(merged).every(([name, value]) => before[name] === value)) return;
  const lines = Object.entries(merged).map(([name, value]) => `${name}=${value}\n`);
  const temporary = `${credentialsPath(dataDir)}.${randomBytes(4).toString('hex')}`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(HEADER + lines.join(''));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, credentialsPath(dataDir));
}
