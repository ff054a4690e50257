import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A small disk of its own, which a test can fill. */
export interface Disk {
  folder: string;
  /** Leaves room for so many bytes and no more. */
  fill(left?: number): Promise<void>;
  /** Leaves no room for another name of a file. */
  fillNames(): Promise<void>;
  /** Takes back what `fill` and `fillNames` have put there. */
  free(): Promise<void>;
}

const NAMES = 200;

/** Mounts a disk; undefined where that is not allowed. */
export async function mountDisk(bytes: number, uid = 0): Promise<Disk | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'insforge-disk-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const options = `size=${bytes},nr_inodes=${NAMES},uid=${uid},mode=755`;
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  onTestFinished(() => void execFileSync('umount', ['--lazy', folder]));
  const fillers: string[] = [];
  const add = async (size: number) => {
    const path = join(folder, `filler-${fillers.length}`);
    fillers.push(path);
    await writeFile(path, Buffer.alloc(size));
  };
  return {
    folder,
    async fill(left = 0) {
      const { bavail, bsize } = await statfs(folder);
      await add(bavail * bsize - left);
    },
    async fillNames() {
      const { ffree } = await statfs(folder);
      for (let index = 0; index < ffree; index++) await add(0);
    },
    async free() {
      for (const path of fillers.splice(0)) await rm(path);
    },
  };
}
