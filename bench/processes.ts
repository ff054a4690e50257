/** What a process and its descendants cost (Linux only). */
import type { ChildProcess } from 'node:child_process';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const TICKS_PER_SECOND = 100;

async function familyOf({ pid: root }: ChildProcess): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-e', '-o', 'pid=,ppid=']);
  const parents = new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number) as [number, number]),
  );
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || (parents.has(pid) && isOurs(parents.get(pid))));
  return [...parents.keys()].filter(isOurs);
}

/** Memory in MB. What processes share counts once: the sum of each one's share. */
export async function proportionalSetSize(child: ChildProcess): Promise<number> {
  let total = 0;
  for (const pid of await familyOf(child)) {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    total += Number(rollup.match(/^Pss:\s+(\d+)/m)?.[1] ?? 0) / 1024;
  }
  return total;
}

/** Processor time in microseconds. */
export async function processorTime(child: ChildProcess): Promise<number> {
  let ticks = 0;
  for (const pid of await familyOf(child)) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    // https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; the name in parentheses may have spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return (ticks * 1e6) / TICKS_PER_SECOND;
}
