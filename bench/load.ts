import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** What every connection sends, again and again; several bodies take turns. */
export interface Load {
  connections: number;
  seconds: number;
  method: string;
  headers: Record<string, string>;
  bodies?: string[] | undefined;
}

/** Requests a second, and the latencies in milliseconds. */
export interface LoadResult {
  rate: number;
  p50: number;
  p99: number;
  failed: number;
}

/** Loads a URL, with the generator in a process of its own. */
export async function load(url: string, options: Load): Promise<LoadResult> {
  const { stdout } = await promisify(execFile)(process.execPath, ['bench/load-generator.ts'], {
    env: { PATH: process.env.PATH, LOAD: JSON.stringify({ ...options, url }) },
  });
  const result: LoadResult = JSON.parse(stdout);
  if (result.failed > 0) throw new Error(`${options.method} ${url}: ${result.failed} requests failed`);
  return result;
}
